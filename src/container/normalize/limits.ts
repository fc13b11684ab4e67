/** Limits of a container: memory, processors, processes, setrlimit(2). */
import { nearest } from '../../util/nearest.ts'
import { show } from '../../util/printable.ts'
import type { Size } from '../../util/size.ts'
import type { ContainerOptions, Ulimit } from '../options/options.ts'
import { invalid, optionalSize, range } from './values.ts'

const MIN_MEMORY = 6 * 1024 * 1024
const RLIMITS = new Set(
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
    ' ',
  ),
)

/** Zero is Docker's way to say "no limit". */
export function limitSize(option: string, size: Size | undefined): number | undefined {
  return optionalSize(option, size) || undefined
}

/** Zero is Docker's way to say "no limit". */
export function limitRange(
  option: string,
  value: number | undefined,
  least: number,
  most: number,
): number | undefined {
  return value === 0 ? undefined : range(option, value, least, most)
}

export function memorySize({ memory, memoryReservation }: ContainerOptions): number | undefined {
  const bytes = limitSize('memory', memory)
  if (bytes !== undefined && bytes < MIN_MEMORY) {
    throw invalid(
      'memory',
      `is ${bytes} bytes, too little to start a program`,
      `Give at least ${MIN_MEMORY} (6m).`,
    )
  }
  const reserved = limitSize('memoryReservation', memoryReservation)
  if (bytes !== undefined && reserved !== undefined && reserved > bytes) {
    throw invalid('memoryReservation', 'is more than memory')
  }
  return bytes
}

export function swapSize(size: Size | undefined, memory: number | undefined): number | undefined {
  if (size === -1 || size === '-1') return -1
  const bytes = limitSize('memorySwap', size)
  if (bytes === undefined) return undefined
  if (memory === undefined)
    throw invalid('memorySwap', 'needs memory', 'It counts memory and swap together.')
  if (bytes < memory)
    throw invalid('memorySwap', 'is less than memory', 'It counts memory and swap together.')
  return bytes
}

export function cpuList(list: string | undefined): string | undefined {
  if (list === undefined || list === '') return undefined
  if (typeof list === 'string' && /^\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*$/.test(list)) return list
  throw invalid('cpuset', `is not a list of processors: ${show(list)}`, 'Write it as "0-2,4".')
}

export function pidsLimit(limit: number | undefined): number | undefined {
  if (limit === 0) return -1
  if (limit === undefined || limit === -1 || (Number.isSafeInteger(limit) && limit > 0)) {
    return limit
  }
  throw invalid('pids', `must be a whole number above 0, or -1 for unlimited, not ${show(limit)}`)
}

export function ulimit(name: string, limit: Ulimit) {
  const short = name.toLowerCase().replace(/^rlimit_/, '')
  if (!RLIMITS.has(short)) {
    const near = nearest(short, RLIMITS)
    throw invalid(
      'ulimits',
      `knows no limit ${JSON.stringify(name)}`,
      near ? `Did you mean ${near}?` : `The limits are ${[...RLIMITS].join(', ')}.`,
    )
  }
  if (typeof limit !== 'number' && (typeof limit !== 'object' || limit === null)) {
    throw invalid('ulimits', `has ${show(limit)} for ${name}`, 'Give a number, or soft and hard.')
  }
  const { soft, hard } = typeof limit === 'number' ? { soft: limit, hard: limit } : limit
  for (const value of [soft, hard]) {
    if (!Number.isSafeInteger(value) || value < -1)
      throw invalid('ulimits', `has no whole number for ${name}`)
  }
  if (hard !== -1 && (soft === -1 || soft > hard))
    throw invalid('ulimits', `has a soft ${name} above the hard one`)
  return { name: short, soft, hard }
}
