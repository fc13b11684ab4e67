import type { CgroupLimit } from '../../runtime/cgroup.ts'
import type { DeviceRule } from '../../security/devices.ts'
import type { NormalizedContainer } from '../normalize/normalize.ts'
import type { OciBlockIo, OciResources } from './oci-runtime.ts'

type Limits = Pick<
  NormalizedContainer,
  | 'memory'
  | 'memorySwap'
  | 'memoryReservation'
  | 'memorySwappiness'
  | 'cpus'
  | 'cpuShares'
  | 'cpuset'
  | 'pids'
  | 'blkio'
  | 'hugetlb'
>

/** Enough for any service, and an end to a fork bomb. */
const DEFAULT_PIDS = 4096
const CPU_PERIOD = 100_000

/** What can be had without asking; what cannot be had is simply not limited. */
interface Available {
  pids: boolean
  swap: boolean
}

/** The limits that were asked for: each must be possible or is an error. */
export function askedLimits(options: Limits): CgroupLimit[] {
  const limits: CgroupLimit[] = []
  const { memory, memoryReservation, memorySwappiness } = options
  if ([memory, memoryReservation, memorySwappiness].some((each) => each !== undefined)) {
    limits.push('memory')
  }
  if (options.memorySwap !== undefined && options.memorySwap !== -1) limits.push('swap')
  if (options.cpus !== undefined || options.cpuShares !== undefined) limits.push('cpu')
  if (options.cpuset !== undefined) limits.push('cpuset')
  if (options.pids !== undefined && options.pids !== -1) limits.push('pids')
  if (options.blkio !== undefined) limits.push('io')
  if (options.hugetlb.length > 0) limits.push('hugetlb')
  return limits
}

/** `linux.resources` of the configuration, with Docker's defaults. Pure. */
export function planResources(
  options: Limits,
  { devices, blockIO }: { devices: DeviceRule[]; blockIO: OciBlockIo },
  available: Available,
): OciResources {
  const memory = memoryResources(options, available.swap)
  const cpu = cpuResources(options)
  const pids = options.pids ?? (available.pids ? DEFAULT_PIDS : -1)
  return {
    devices,
    ...(memory && { memory }),
    ...(cpu && { cpu }),
    ...(pids !== -1 && { pids: { limit: pids } }),
    ...(Object.keys(blockIO).length > 0 && { blockIO }),
    ...(options.hugetlb.length > 0 && { hugepageLimits: options.hugetlb }),
  }
}

function memoryResources(options: Limits, swapCounted: boolean): OciResources['memory'] {
  const { memory, memoryReservation, memorySwappiness } = options
  if ([memory, memoryReservation, memorySwappiness].every((each) => each === undefined)) {
    return undefined
  }
  const byDefault = memory === undefined || !swapCounted ? undefined : memory * 2
  const swap = options.memorySwap ?? byDefault
  return {
    ...(memory !== undefined && { limit: memory }),
    ...(memoryReservation !== undefined && { reservation: memoryReservation }),
    ...(memorySwappiness !== undefined && { swappiness: memorySwappiness }),
    ...(swap !== undefined && (swap !== -1 || swapCounted) && { swap }),
  }
}

function cpuResources({ cpus, cpuShares, cpuset }: Limits): OciResources['cpu'] {
  if (cpus === undefined && cpuShares === undefined && cpuset === undefined) return undefined
  return {
    ...(cpuShares !== undefined && { shares: cpuShares }),
    ...(cpus !== undefined && { quota: Math.round(cpus * CPU_PERIOD), period: CPU_PERIOD }),
    ...(cpuset !== undefined && { cpus: cpuset }),
  }
}
