import { startFailure } from '../failure.ts'
import type { ContainerCore } from '../core.ts'
import type { RestartPolicy } from '../options/create-options.ts'
import { refuseUnknown } from '../normalize/call.ts'
import { normalizeContainer } from '../normalize/normalize.ts'
import { parseRestart } from '../normalize/create.ts'
import type { ContainerOptions } from '../options/options.ts'
import { planRestart } from './plan.ts'
import { configOf } from './start.ts'
import { isActive } from './state.ts'

/** What of a container can be changed while it is there. */
export interface UpdateOptions extends Pick<
  ContainerOptions,
  'memory' | 'memorySwap' | 'memoryReservation' | 'cpus' | 'cpuShares' | 'cpuset' | 'pids' | 'blkio'
> {
  restart?: RestartPolicy | string
}

const LIMITS = [
  'memory',
  'memorySwap',
  'memoryReservation',
  'cpus',
  'cpuShares',
  'cpuset',
  'pids',
  'blkio',
] as const

/** The kernel first, then the record: a limit that cannot be applied is not written down. */
export async function updateContainer(core: ContainerCore, changes: UpdateOptions): Promise<void> {
  refuseUnknown(changes, [...LIMITS, 'restart'], 'update()')
  const restart = changes.restart === undefined ? undefined : parseRestart(changes.restart)
  const status = await core.mustAllow('update')
  const before = await core.refresh()
  const given = Object.fromEntries(
    Object.entries(changes).filter(([name, value]) => name !== 'restart' && value !== undefined),
  )
  const { memory, memorySwap, memoryReservation } = before.options
  // Checked with those that stay: swap counts memory too, a reservation is less than the limit.
  const checked = normalizeContainer(undefined, {
    ...(memory !== undefined && { memory }),
    ...(memorySwap !== undefined && { memorySwap }),
    ...(memoryReservation !== undefined && { memoryReservation }),
    ...given,
  })
  const limits = Object.fromEntries(
    LIMITS.filter((name) => name in given).map((name) => [name, checked[name]]),
  )
  const options = { ...before.options, ...limits, ...(restart && { restart }) }
  core.record = { ...before, options }
  try {
    const config = await configOf(core)
    if (isActive(status)) {
      const { devices: _, ...resources } = config.linux.resources
      const client = await core.monitor('update')
      await client
        .request('update', {
          ...(Object.keys(limits).length > 0 && { resources }),
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
