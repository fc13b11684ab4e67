/** Which limits a container has after an update, and what of that the kernel is to be told. Pure. */
import type { OciResources } from '../config/oci-runtime.ts'
import { blockIo, type NormalizedBlockIo } from '../normalize/io.ts'
import { normalizeContainer, type NormalizedContainer } from '../normalize/normalize.ts'
import type { ContainerOptions } from '../options/options.ts'

/** What can be changed while a container runs. */
export const LIMITS = [
  'memory',
  'memorySwap',
  'memoryReservation',
  'memorySwappiness',
  'cpus',
  'cpuShares',
  'cpuset',
  'pids',
  'blkio',
  'hugetlb',
] as const

export type Limits = Pick<ContainerOptions, (typeof LIMITS)[number]>
export type NormalizedLimits = Pick<NormalizedContainer, (typeof LIMITS)[number]>

/** The kernel's own. */
const DEFAULT_SHARES = 1024
const DEFAULT_PERIOD = 100_000

/**
 * The limits that `given` leads to from those that there are: what is not given stays, 0 takes a limit away.
 *
 * @returns `kept`: to be written down; `blkio`: with the rates of 0 that take one away
 * @throws `KEELSON_INVALID_OPTION`
 */
export function changedLimits(
  before: NormalizedLimits,
  given: Limits,
): { kept: Partial<NormalizedLimits>; blkio: NormalizedBlockIo | undefined } {
  const { memory, memorySwap, memoryReservation } = before
  const lifted = given.memory === 0 || given.memory === '0'
  const { blkio: io, ...rest } = given
  // Checked with those that stay: swap counts memory too, a reservation is less than the limit.
  const checked = normalizeContainer(undefined, {
    ...(memory !== undefined && { memory }),
    ...(memorySwap !== undefined && !lifted && { memorySwap }),
    ...(memoryReservation !== undefined && { memoryReservation }),
    ...rest,
  })
  const names = LIMITS.filter((name) => name in rest || (lifted && name === 'memorySwap'))
  const blkio = io === undefined ? undefined : mergedIo(before.blkio, blockIo(io, 0))
  return {
    kept: {
      ...Object.fromEntries(names.map((name) => [name, checked[name]])),
      ...(rest.hugetlb !== undefined && { hugetlb: mergedPages(before.hugetlb, checked.hugetlb) }),
      ...(blkio !== undefined && { blkio: withoutLifted(blkio) }),
    },
    blkio,
  }
}

/**
 * `resources` with a word for each limit that was taken away: what they do not name stays as it is in the kernel.
 *
 * @param around `processors`: of what holds the container, as cgroup v1 takes no empty list; `swap`: whether swap was limited
 */
export function liftedResources(
  limits: OciResources,
  kept: Partial<NormalizedLimits>,
  around: { processors: string | undefined; swap: boolean },
): Omit<OciResources, 'devices'> {
  const { devices: _, ...resources } = limits
  const { memory, cpu } = resources
  const isLifted = (name: keyof NormalizedLimits) => name in kept && kept[name] === undefined
  return {
    ...resources,
    ...((memory ?? isLifted('memory')) && {
      memory: {
        ...(isLifted('memory') && { limit: -1, ...(around.swap && { swap: -1 }) }),
        ...(isLifted('memoryReservation') && { reservation: -1 }),
        ...memory,
      },
    }),
    cpu: {
      ...(isLifted('cpus') && { quota: -1, period: DEFAULT_PERIOD }),
      ...(isLifted('cpuShares') && { shares: DEFAULT_SHARES }),
      ...(isLifted('cpuset') && around.processors !== undefined && { cpus: around.processors }),
      ...cpu,
    },
    ...(kept.pids === -1 && { pids: { limit: -1 } }),
  }
}

function mergedIo(
  before: NormalizedBlockIo | undefined,
  given: NormalizedBlockIo | undefined,
): NormalizedBlockIo | undefined {
  if (before === undefined || given === undefined) return given
  return {
    weight: given.weight ?? before.weight,
    weightDevice: merged(before.weightDevice, given.weightDevice),
    readBps: merged(before.readBps, given.readBps),
    writeBps: merged(before.writeBps, given.writeBps),
    readIops: merged(before.readIops, given.readIops),
    writeIops: merged(before.writeIops, given.writeIops),
  }
}

function withoutLifted(blkio: NormalizedBlockIo): NormalizedBlockIo {
  return {
    ...blkio,
    readBps: limited(blkio.readBps),
    writeBps: limited(blkio.writeBps),
    readIops: limited(blkio.readIops),
    writeIops: limited(blkio.writeIops),
  }
}

function merged<T extends { path: string }>(old: readonly T[], own: readonly T[]): T[] {
  return [...old.filter(({ path }) => own.every((each) => each.path !== path)), ...own]
}

function limited(list: NormalizedBlockIo['readBps']): NormalizedBlockIo['readBps'] {
  return list.filter(({ rate }) => rate > 0)
}

function mergedPages(
  before: NormalizedLimits['hugetlb'],
  given: NormalizedLimits['hugetlb'],
): NormalizedLimits['hugetlb'] {
  const others = before.filter(({ pageSize }) => given.every((each) => each.pageSize !== pageSize))
  return [...others, ...given]
}
