/** Files of cgroup v1 to numbers (Documentation/admin-guide/cgroup-v1). Pure. */
import { flatKeyed, limitOf, numberOf } from './files.ts'
import type { CpuStats, IoStats, MemoryStats } from './stats.ts'
import type { Files } from './v2.ts'

/** By controller. */
export const V1_FILES = {
  cpuacct: ['cpuacct.usage', 'cpuacct.usage_user', 'cpuacct.usage_sys'],
  cpu: ['cpu.stat'],
  memory: [
    'memory.usage_in_bytes',
    'memory.stat',
    'memory.limit_in_bytes',
    'memory.max_usage_in_bytes',
  ],
  blkio: ['blkio.throttle.io_service_bytes_recursive', 'blkio.throttle.io_serviced_recursive'],
  pids: ['pids.current', 'pids.max'],
} as const

export function cpuOfV1(files: Files): CpuStats | undefined {
  if (files['cpuacct.usage'] === undefined) return undefined
  return {
    usageNs: numberOf(files['cpuacct.usage']),
    userNs: numberOf(files['cpuacct.usage_user'] ?? '0'),
    systemNs: numberOf(files['cpuacct.usage_sys'] ?? '0'),
    ...throttlingOfV1(files),
  }
}

/** Of the controller `cpu`, which need not be there: without it nothing is throttled. */
export function throttlingOfV1(files: Files): Pick<CpuStats, 'throttledNs' | 'throttledPeriods'> {
  const stat = flatKeyed(files['cpu.stat'] ?? '')
  return {
    throttledNs: stat.get('throttled_time') ?? 0,
    throttledPeriods: stat.get('nr_throttled') ?? 0,
  }
}

/** `total_` counts the cgroups below, too, as the others do. */
export function memoryOfV1(files: Files): MemoryStats | undefined {
  if (files['memory.usage_in_bytes'] === undefined) return undefined
  const stat = flatKeyed(files['memory.stat'] ?? '')
  const limit = limitOf(files['memory.limit_in_bytes'] ?? '')
  const peak = files['memory.max_usage_in_bytes']
  const inactive = stat.get('total_inactive_file') ?? 0
  return {
    usage: Math.max(0, numberOf(files['memory.usage_in_bytes']) - inactive),
    ...(limit !== undefined && { limit }),
    cache: stat.get('total_cache') ?? 0,
    rss: stat.get('total_rss') ?? 0,
    swap: stat.get('total_swap') ?? 0,
    ...(peak !== undefined && { peak: numberOf(peak) }),
  }
}

export function ioOfV1(files: Files): IoStats | undefined {
  const bytes = files['blkio.throttle.io_service_bytes_recursive']
  if (bytes === undefined) return undefined
  const operations = files['blkio.throttle.io_serviced_recursive'] ?? ''
  return {
    readBytes: sumOf(bytes, 'Read'),
    writeBytes: sumOf(bytes, 'Write'),
    readOps: sumOf(operations, 'Read'),
    writeOps: sumOf(operations, 'Write'),
  }
}

/** `8:0 Read 4096` lines; the last line is the total of all kinds. */
function sumOf(text: string, kind: string): number {
  return text.split('\n').reduce((sum, line) => {
    const [, which, value = ''] = line.split(' ')
    return which === kind && /^\d+$/.test(value) ? sum + Number(value) : sum
  }, 0)
}
