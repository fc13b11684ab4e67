import type { ContainerCore } from '../core.ts'
import { makeRunDirectory } from '../lifecycle/run-directory.ts'
import { isActive } from '../lifecycle/state.ts'
import type { AttachTarget } from './attach.ts'

/** What attaching to a container takes; one without a monitor gets one, which ends with its last connection unless it is started. */
export async function attachTarget(core: ContainerCore): Promise<AttachTarget> {
  const status = await core.mustAllow('attach')
  const { tty, openStdin: stdin } = core.record.options
  if (isActive(status)) return { monitor: await core.monitor('attach'), tty, stdin }
  await makeRunDirectory(core)
  return { monitor: await core.launch(), tty, stdin }
}
