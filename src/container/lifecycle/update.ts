import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startFailure } from '../failure.ts'
import { findBlockIo } from '../config/block-devices.ts'
import type { OciConfig } from '../config/oci-runtime.ts'
import type { ContainerCore } from '../core.ts'
import type { RestartPolicy } from '../options/create-options.ts'
import { refuseUnknown } from '../normalize/call.ts'
import { parseRestart } from '../normalize/create.ts'
import { planRestart } from './plan.ts'
import { configOf } from './start.ts'
import { isActive } from './state.ts'
import { changedLimits, liftedResources, LIMITS, type Limits } from './update-limits.ts'

/**
 * What of a container can be changed while it is there. What is not given stays, within `blkio` and `hugetlb` too; 0 takes a limit away, a
 * rate of `blkio` among them.
 */
export interface UpdateOptions extends Limits {
  restart?: RestartPolicy | string
}

/** The kernel first, then the record: a limit that cannot be applied is not written down. */
export async function updateContainer(core: ContainerCore, changes: UpdateOptions): Promise<void> {
  refuseUnknown(changes, [...LIMITS, 'restart'], 'update()')
  const restart = changes.restart === undefined ? undefined : parseRestart(changes.restart)
  const status = await core.mustAllow('update')
  const before = await core.refresh()
  const given = Object.fromEntries(
    Object.entries(changes).filter(([name, value]) => name !== 'restart' && value !== undefined),
  ) as Limits
  const { kept, blkio } = changedLimits(before.options, given)
  const swap = (await configOf(core)).linux.resources.memory?.swap !== undefined
  const options = { ...before.options, ...kept, ...(restart && { restart }) }
  core.record = { ...before, options }
  try {
    const config = await configOf(core)
    const blockIO = await findBlockIo(blkio)
    if (isActive(status)) {
      const around = { processors: await processorsAround(config), swap }
      const lifted = liftedResources(config.linux.resources, kept, around)
      const resources = { ...lifted, ...(blkio && { blockIO }) }
      const client = await core.monitor('update')
      await client
        .request('update', {
          ...(Object.keys(kept).length > 0 && { resources }),
          ...(restart && { restart: planRestart(restart) }),
        })
        .catch((error: unknown) => {
          throw startFailure(error, config.process)
        })
    }
    await core.save(core.record)
  } catch (error) {
    core.record = before
    throw error
  }
}

/** Those of the cgroup that the container's own lies in. */
async function processorsAround({ keelson }: OciConfig): Promise<string | undefined> {
  const { v1, v2 } = keelson.cgroups
  const directory = v1?.['cpuset'] ?? v2
  if (directory === undefined) return undefined
  for (const file of ['cpuset.effective_cpus', 'cpuset.cpus.effective', 'cpuset.cpus']) {
    const text = await readFile(join(directory, '..', file), 'utf8').catch(() => '')
    if (text.trim() !== '') return text.trim()
  }
  return undefined
}
