/** Files of cgroup v2 to numbers (Documentation/admin-guide/cgroup-v2.rst). Pure. */
import { flatKeyed, limitOf, nestedKeyedSums, numberOf } from './files.ts'
import type { CpuStats, IoStats, MemoryStats, PidsStats } from './stats.ts'

/** Contents by name; those that are not there are not in it. */
export type Files = Readonly<Partial<Record<string, string>>>

export const V2_FILES = [
  'cpu.stat',
  'memory.current',
  'memory.stat',
  'memory.max',
  'memory.peak',
  'memory.swap.current',
  'io.stat',
  'pids.current',
  'pids.max',
] as const

/** `cpu.stat` is there without the controller, too, and then has times only. */
export function cpuOfV2(files: Files): CpuStats | undefined {
  if (files['cpu.stat'] === undefined) return undefined
  const stat = flatKeyed(files['cpu.stat'])
  const nanoseconds = (key: string) => (stat.get(key) ?? 0) * 1000
  return {
    usageNs: nanoseconds('usage_usec'),
    userNs: nanoseconds('user_usec'),
    systemNs: nanoseconds('system_usec'),
    throttledNs: nanoseconds('throttled_usec'),
    throttledPeriods: stat.get('nr_throttled') ?? 0,
  }
}

export function memoryOfV2(files: Files): MemoryStats | undefined {
  if (files['memory.current'] === undefined) return undefined
  const stat = flatKeyed(files['memory.stat'] ?? '')
  const limit = limitOf(files['memory.max'] ?? 'max')
  const peak = files['memory.peak']
  return {
    usage: Math.max(0, numberOf(files['memory.current']) - (stat.get('inactive_file') ?? 0)),
    ...(limit !== undefined && { limit }),
    cache: stat.get('file') ?? 0,
    rss: stat.get('anon') ?? 0,
    swap: numberOf(files['memory.swap.current'] ?? '0'),
    ...(peak !== undefined && { peak: numberOf(peak) }),
  }
}

export function ioOfV2(files: Files): IoStats | undefined {
  if (files['io.stat'] === undefined) return undefined
  const sums = nestedKeyedSums(files['io.stat'])
  return {
    readBytes: sums.get('rbytes') ?? 0,
    writeBytes: sums.get('wbytes') ?? 0,
    readOps: sums.get('rios') ?? 0,
    writeOps: sums.get('wios') ?? 0,
  }
}

/** The same files in both versions. */
export function pidsOf(files: Files): PidsStats | undefined {
  if (files['pids.current'] === undefined) return undefined
  const limit = limitOf(files['pids.max'] ?? 'max')
  return { current: numberOf(files['pids.current']), ...(limit !== undefined && { limit }) }
}
