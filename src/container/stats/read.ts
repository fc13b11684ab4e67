import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ContainerCgroups } from '../../runtime/cgroup.ts'
import { errnoOf, storageError } from '../../store/errno.ts'
import { parseNetworks } from './networks.ts'
import type { CpuStats, Stats } from './stats.ts'
import { cpuOfV1, ioOfV1, memoryOfV1, throttlingOfV1, V1_FILES } from './v1.ts'
import { cpuOfV2, ioOfV2, memoryOfV2, pidsOf, V2_FILES, type Files } from './v2.ts'

/** Where a container's numbers are. */
export interface StatsSource {
  /** As in the `keelson` extension of its configuration. */
  cgroups: ContainerCgroups
  /** Its process 1. */
  pid: number
  /** False: it has the host's network, whose traffic is not its own. */
  ownNetwork: boolean
}

/** A sample, and when it was taken by a clock that nobody sets. */
export interface Sample {
  stats: Stats
  /** Milliseconds. */
  at: number
}

/**
 * Reads what a container uses, on cgroup v2, v1, and where both are mounted, each controller where it is. Undefined when the container
 * has ended.
 *
 * @param before an earlier sample, which the share of the processors is measured against
 * @throws `KEELSON_PERMISSION`, `KEELSON_IO`
 */
export async function readStats(
  { cgroups, pid, ownNetwork }: StatsSource,
  before?: Sample,
): Promise<Sample | undefined> {
  const directories = Object.entries(cgroups.v1 ?? {})
  const [v2, device, ...v1] = await Promise.all([
    cgroups.v2 === undefined ? undefined : readAll(cgroups.v2, V2_FILES),
    ownNetwork ? read(`/proc/${pid}/net/dev`) : '',
    ...directories.map(([controller, path]) => readAll(path, filesOf(controller))),
  ])
  const at = performance.now()
  const old: Files = Object.assign({}, ...v1)
  // Every process has this file, and every cgroup of v2 has `cpu.stat`: without them there is no container any more.
  if (device === undefined || (v2 !== undefined && v2['cpu.stat'] === undefined)) return undefined
  const cpu = cpuOf(v2 ?? {}, old)
  const memory = memoryOfV2(v2 ?? {}) ?? memoryOfV1(old)
  const io = ioOfV2(v2 ?? {}) ?? ioOfV1(old)
  const pids = pidsOf(v2 ?? {}) ?? pidsOf(old)
  const stats = {
    time: new Date(),
    ...(cpu !== undefined && { cpu: { ...cpu, ...shareOf(cpu, at, before) } }),
    ...(memory !== undefined && { memory }),
    ...(io !== undefined && { io }),
    ...(pids !== undefined && { pids }),
    networks: parseNetworks(device),
  }
  return { stats, at }
}

/** Where the controller is one of v1, v2 still counts the time, and only v1 knows of limits. */
function cpuOf(v2: Files, v1: Files): CpuStats | undefined {
  const old = cpuOfV1(v1)
  if (old !== undefined) return old
  const cpu = cpuOfV2(v2)
  return cpu !== undefined && v1['cpu.stat'] !== undefined ? { ...cpu, ...throttlingOfV1(v1) } : cpu
}

function shareOf(cpu: CpuStats, at: number, before: Sample | undefined): { percent?: number } {
  const earlier = before?.stats.cpu
  if (before === undefined || earlier === undefined || at <= before.at) return {}
  return { percent: Math.max(0, (cpu.usageNs - earlier.usageNs) / (at - before.at) / 1e4) }
}

/** Hierarchies with several controllers are named by all of them: `cpu,cpuacct`. */
function filesOf(controller: string): string[] {
  const known: Partial<Record<string, readonly string[]>> = V1_FILES
  return controller.split(',').flatMap((name) => known[name] ?? [])
}

async function readAll(directory: string, names: readonly string[]): Promise<Files> {
  const texts = await Promise.all(names.map((name) => read(join(directory, name))))
  return Object.fromEntries(names.map((name, index) => [name, texts[index]]))
}

/** Undefined when it is not there, or goes away while it is read. */
async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    // EOPNOTSUPP and EINVAL: the file is there, but not for this kernel's configuration.
    if (GONE.has(errnoOf(error) ?? '')) return undefined
    throw storageError(error, 'read', path)
  }
}

const GONE = new Set(['ENOENT', 'ENODEV', 'ESRCH', 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP'])
