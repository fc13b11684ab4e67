import { mkdir } from 'node:fs/promises'
import { storageError } from '../../store/errno.ts'
import type { ContainerCore } from '../core.ts'
import { isActive } from '../lifecycle/state.ts'
import type { AttachTarget } from './attach.ts'

/** What attaching to a container takes; one without a monitor gets one, which ends with its last connection unless it is started. */
export async function attachTarget(core: ContainerCore): Promise<AttachTarget> {
  const status = await core.mustAllow('attach')
  const { run, options } = core.record
  const { tty, openStdin: stdin } = options
  if (isActive(status)) return { monitor: await core.monitor('attach'), tty, stdin }
  try {
    await mkdir(run, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw storageError(error, 'create', run)
  }
  return { monitor: await core.launch(), tty, stdin }
}
