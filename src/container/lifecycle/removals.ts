import type { Helper } from '../../runtime/protocol.ts'
import { converting } from '../../store/errno.ts'
import { deferred } from '../../util/deferred.ts'

interface Batch {
  paths: string[]
  done: { promise: Promise<void>; resolve: (value: void) => void; reject: (error: unknown) => void }
}

/**
 * Removes trees off everybody's path: those of many containers by one worker of the helper, as each worker is a process.
 */
export class Removals {
  readonly #helper: Helper
  /** What the engine waits for when it closes. */
  readonly #pending: Set<Promise<void>>
  #next: Batch | undefined

  constructor(helper: Helper, pending: Set<Promise<void>>) {
    this.#helper = helper
    this.#pending = pending
  }

  /** In this order; what is not there is gone already. */
  remove(paths: readonly string[]): Promise<void> {
    this.#next ??= this.#begin()
    this.#next.paths.push(...paths)
    return this.#next.done.promise
  }

  #begin(): Batch {
    const batch: Batch = { paths: [], done: deferred<void>() }
    const { promise } = batch.done
    this.#pending.add(promise)
    promise.catch(() => {}).finally(() => this.#pending.delete(promise))
    setImmediate(() => {
      this.#next = undefined
      const { paths } = batch
      converting('remove', paths[0] ?? '', () =>
        this.#helper.request('tree.remove', { paths }),
      ).then(() => batch.done.resolve(), batch.done.reject)
    })
    return batch
  }
}
