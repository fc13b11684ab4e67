import type PQueue from 'p-queue'
import { abortedError } from '../util/abort.ts'

/** Bounds the downloads under way at once, host by host. */
export class DownloadLimits {
  readonly #perHost: number
  readonly #queues = new Map<string, Promise<PQueue>>()

  constructor(perHost: number) {
    this.#perHost = perHost
  }

  /** Waits for a place; the function that comes back gives it up. */
  async enter(host: string, signal: AbortSignal | undefined): Promise<() => void> {
    const queue = await this.#queue(host)
    return await new Promise((enter, fail) => {
      const place = queue.add(
        () => new Promise<void>((leave) => enter(leave)),
        signal === undefined ? {} : { signal },
      )
      // Once entered this changes nothing: a download under way reports its own abort.
      place.catch((error: unknown) => {
        fail(signal?.aborted === true ? abortedError(signal, 'waiting for a download') : error)
      })
    })
  }

  #queue(host: string): Promise<PQueue> {
    let queue = this.#queues.get(host)
    if (queue === undefined) {
      queue = import('p-queue').then(
        ({ default: Queue }) => new Queue({ concurrency: this.#perHost }),
      )
      this.#queues.set(host, queue)
    }
    return queue
  }
}
