import { open, type FileHandle } from 'node:fs/promises'
import { keelsonError } from '../../errors.ts'
import { helperError } from '../../runtime/connection.ts'
import { encodeFrame } from '../../runtime/frames.ts'
import type { FaultsUpdate } from '../../runtime/network-protocol.ts'
import type { Helper, Progress } from '../../runtime/protocol.ts'
import { deferred } from '../../util/deferred.ts'

/** A process of the helper that holds the faults of one network: while it is there they are in force, and no longer. */
export class FaultProcess {
  readonly #abort = new AbortController()
  readonly #answers = new Map<number, ReturnType<typeof deferred<void>>>()
  readonly #pipe = deferred<FileHandle>()
  #last = 0
  /** Resolves when it has ended: to the reason, unless it was to. */
  readonly ended: Promise<unknown>

  constructor(helper: Helper) {
    this.ended = helper
      .request(
        'network.faults',
        {},
        {
          onProgress: (progress) => this.#hear(progress),
          signal: this.#abort.signal,
          // A program with nothing else to do ends, and its faults with it.
          background: true,
        },
      )
      .then(
        () => undefined,
        (error: unknown) => error,
      )
    this.#pipe.promise.catch(() => {})
    void this.#end()
  }

  /** From now on this holds. On failure all is as it was. */
  async update(update: Omit<FaultsUpdate, 'update'>): Promise<void> {
    await awake(() => this.#update(update))
  }

  async #update(update: Omit<FaultsUpdate, 'update'>): Promise<void> {
    const number = ++this.#last
    const answer = deferred<void>()
    answer.promise.catch(() => {})
    this.#answers.set(number, answer)
    try {
      const pipe = await this.#pipe.promise
      const frame = encodeFrame({ update: number, ...update } satisfies FaultsUpdate)
      // A pipe that nobody reads any more: its end says why.
      await pipe.appendFile(frame).catch(async (cause: unknown) => {
        throw (await this.ended) ?? gone(cause)
      })
      await answer.promise
    } finally {
      this.#answers.delete(number)
    }
  }

  /** Lets what is on its way arrive, and ends. */
  async finish(): Promise<void> {
    await this.#close()
    await this.ended
  }

  /** Ends at once. */
  async kill(): Promise<void> {
    this.#abort.abort()
    await awake(() => this.finish())
  }

  async #end(): Promise<void> {
    const reason = (await this.ended) ?? gone()
    this.#pipe.reject(reason)
    for (const answer of this.#answers.values()) answer.reject(reason)
    await this.#close()
  }

  async #close(): Promise<void> {
    const pipe = await this.#pipe.promise.catch(() => undefined)
    await pipe?.close().catch(() => {})
  }

  #hear({ stream, update = 0, error }: Progress): void {
    if (stream !== undefined) {
      const path = `/proc/${stream.pid}/fd/${stream.fd}`
      void open(path, 'w').then(this.#pipe.resolve, this.#pipe.reject)
    } else if (error === undefined) this.#answers.get(update)?.resolve()
    else this.#answers.get(update)?.reject(helperError('network.faults', error))
  }
}

/** The program does not wait for the process, but for what it asks of it. */
async function awake(work: () => Promise<void>): Promise<void> {
  const alive = setInterval(() => {}, 60_000)
  try {
    await work()
  } finally {
    clearInterval(alive)
  }
}

function gone(cause?: unknown) {
  return keelsonError('KEELSON_HELPER_FAILED', 'The faults of the network have ended.', {
    cause,
    hint: 'The process of the helper that held them is gone; apply them again.',
  })
}
