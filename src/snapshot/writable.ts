import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Helper } from '../runtime/protocol.ts'
import { makePrivateDirectory } from '../store/directories.ts'
import { converting } from '../store/errno.ts'
import { acquireLock, tryLock, type Lock } from '../store/lock.ts'

const ATTEMPTS = 5

/** The writable layers that last, below `parent`. */
export async function durableLayers(parent: string): Promise<{ id: string; path: string }[]> {
  const ids = await converting('read', parent, () => readdir(parent))
  return ids.map((id) => ({ id, path: join(parent, id) }))
}

/**
 * The writable layers of one engine: a directory with a lock that the launcher holds as long as it lives. A directory whose lock
 * is free was left by a crash.
 */
export class WritableLayers implements AsyncDisposable {
  readonly path: string
  readonly #lock: Lock

  private constructor(path: string, lock: Lock) {
    this.path = path
    this.#lock = lock
  }

  /** Removes what dead engines left under `parent`, and makes a directory for this one. */
  static async open(parent: string, helper: Helper): Promise<WritableLayers> {
    await makePrivateDirectory(parent)
    await removeDead(parent, helper)
    for (let attempt = 1; ; attempt++) {
      const path = join(parent, randomBytes(6).toString('hex'))
      await converting('create', path, () => mkdir(path, { mode: 0o700 }))
      try {
        return new WritableLayers(path, await acquireLock(helper, join(path, 'lock'), 'exclusive'))
      } catch (error) {
        // Another engine took the directory for dead before it was locked.
        if (attempt === ATTEMPTS) throw error
      }
    }
  }

  /** Gives the directory up; what is left in it is for the next engine to remove. */
  async [Symbol.asyncDispose](): Promise<void> {
    const [lock, ...layers] = await readdir(this.path).catch(() => ['', ''])
    if (lock === 'lock' && layers.length === 0) {
      await rm(this.path, { recursive: true, force: true })
    }
    await this.#lock.release()
  }
}

async function removeDead(parent: string, helper: Helper): Promise<void> {
  for (const name of await converting('read', parent, () => readdir(parent))) {
    const path = join(parent, name)
    await using lock = await tryLock(helper, join(path, 'lock'), 'exclusive').catch(() => undefined)
    if (lock === undefined) continue
    await converting('remove', path, () => helper.request('tree.remove', { paths: [path] }))
  }
}
