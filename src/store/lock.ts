import { helperFailure } from '../runtime/connection.ts'
import type { Helper } from '../runtime/protocol.ts'
import { throwIfAborted } from '../util/abort.ts'
import { storageError } from './errno.ts'

/** A flock(2) held by the launcher, so that it ends with this engine however the engine ends. */
export interface Lock extends AsyncDisposable {
  /** Gives the lock back; a second call does nothing. */
  release(): Promise<void>
}

export type LockMode = 'shared' | 'exclusive'

/** Waits until the lock on `path` (a file made when missing) is ours. Abort gives up the wait. */
export async function acquireLock(
  helper: Helper,
  path: string,
  mode: LockMode,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<Lock> {
  const lock = await request(helper, path, mode, true, signal)
  // The grant and the abort can cross on the wire.
  if (signal?.aborted) await lock.release()
  throwIfAborted(signal, 'Waiting for a lock')
  return lock
}

/** Takes the lock if nobody stands in the way; `undefined` when somebody does. */
export async function tryLock(
  helper: Helper,
  path: string,
  mode: LockMode,
): Promise<Lock | undefined> {
  try {
    return await request(helper, path, mode, false)
  } catch (error) {
    if (isBusy(error)) return undefined
    throw error
  }
}

async function request(
  helper: Helper,
  path: string,
  mode: LockMode,
  wait: boolean,
  signal?: AbortSignal,
): Promise<Lock> {
  try {
    const { lock } = await helper.request('lock', { path, mode, wait }, { signal })
    return new HeldLock(helper, lock)
  } catch (error) {
    throw isBusy(error) ? error : storageError(error, 'lock', path)
  }
}

const isBusy = (error: unknown) => helperFailure(error)?.kind === 'busy'

class HeldLock implements Lock {
  readonly #helper: Helper
  readonly #lock: number
  #released: Promise<void> | undefined

  constructor(helper: Helper, lock: number) {
    this.#helper = helper
    this.#lock = lock
  }

  release(): Promise<void> {
    this.#released ??= this.#helper.request('unlock', { lock: this.#lock }).then(
      () => undefined,
      // The launcher is gone and the lock with it.
      () => undefined,
    )
    return this.#released
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release()
  }
}
