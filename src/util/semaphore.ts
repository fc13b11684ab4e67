import { unlessAborted } from './abort.ts'
import { deferred } from './deferred.ts'

/** Lets at most so many at once into a piece of work; the rest wait in the order they came. */
export class Semaphore {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(places: number) {
    this.#free = places
  }

  /** Runs `work` when there is a place. An abort while waiting gives the place up. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#enter(signal)
    try {
      return await work()
    } finally {
      this.#leave()
    }
  }

  async #enter(signal: AbortSignal | undefined): Promise<void> {
    if (this.#free > 0) {
      this.#free--
      return
    }
    const turn = deferred<void>()
    const admit = () => turn.resolve()
    this.#waiting.push(admit)
    try {
      await unlessAborted(turn.promise, signal, 'Waiting for other work')
    } catch (error) {
      const index = this.#waiting.indexOf(admit)
      if (index < 0) this.#leave()
      else this.#waiting.splice(index, 1)
      throw error
    }
  }

  #leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}
