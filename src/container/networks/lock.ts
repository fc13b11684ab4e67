import { mkdirSync } from 'node:fs'
import { attachedLock } from '../../network/endpoint/attached.ts'
import { acquireLock } from '../../store/lock.ts'
import { storageError } from '../../store/errno.ts'
import type { ContainerCore } from '../core.ts'

/** Keeps all others from changing on which networks a container is; `undefined` for one that never is on any of its own. */
export async function lockNetworks(
  { context, record }: ContainerCore,
  signal: AbortSignal | undefined,
): Promise<AsyncDisposable | undefined> {
  if (!Array.isArray(record.options.network)) return undefined
  try {
    mkdirSync(record.run, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw storageError(error, 'create', record.run)
  }
  return await acquireLock(context.run.launcher, attachedLock(record.run), 'exclusive', { signal })
}
