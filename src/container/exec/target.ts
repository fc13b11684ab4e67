import type { RootfsMount } from '../../runtime/protocol.ts'
import type { ContainerCore } from '../core.ts'
import type { OciConfig } from '../config/oci-runtime.ts'
import { readUsers } from '../user/user-lookup.ts'
import type { UserDatabase } from '../user/user.ts'
import type { ExecTarget } from './exec.ts'
import { planExec } from './plan.ts'

const NOBODY: UserDatabase = { passwd: '', group: '' }

/** What executing in this container takes. @param configOf gives the container's configuration */
export function execTarget(core: ContainerCore, configOf: () => Promise<OciConfig>): ExecTarget {
  const { run } = core.context
  return {
    monitor: async () => await core.monitor('exec'),
    async plan(command, { tty = false, ...options }) {
      const [config, users] = await Promise.all([
        configOf(),
        // As they are now: the container may have made some.
        options.user === undefined
          ? NOBODY
          : readUsers(run.launcher, asItIs(core.record.rootfs.rootfs)),
      ])
      return planExec({
        config,
        command,
        options,
        tty,
        users,
        user: run.user,
        capabilities: run.probe.capabilities,
      })
    },
    warn: (code, message) => run.warn(code, message),
  }
}

/** A view of a root file system that is in use: what is written to it is its topmost layer, and read only. */
function asItIs(rootfs: readonly RootfsMount[]): RootfsMount[] {
  return rootfs.map((mount) => {
    if (mount.type === 'bind') return { ...mount, readonly: true }
    const { upper, work: _, lower, ...rest } = mount
    return { ...rest, lower: upper === undefined ? lower : [upper, ...lower] }
  })
}
