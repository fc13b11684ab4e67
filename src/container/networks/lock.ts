import { attachedLock } from '../../network/endpoint/attached.ts'
import { acquireLock } from '../../store/lock.ts'
import type { ContainerCore } from '../core.ts'
import { makeRunDirectory } from '../lifecycle/run-directory.ts'

/** Keeps all others from changing on which networks a container is; `undefined` for one that never is on any of its own. */
export async function lockNetworks(
  core: ContainerCore,
  signal: AbortSignal | undefined,
): Promise<AsyncDisposable | undefined> {
  const { context, record } = core
  if (!Array.isArray(record.options.network)) return undefined
  await makeRunDirectory(core)
  try {
    return await acquireLock(context.run.launcher, attachedLock(record.run), 'exclusive', {
      signal,
    })
  } catch (error) {
    // Another process may have removed it, with the directory.
    await core.mustBeThere()
    throw error
  }
}
