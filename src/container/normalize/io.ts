/** Limits of block devices and of huge pages, and rules of the device cgroup. */
import type { DeviceRule } from '../../security/devices.ts'
import { show } from '../../util/printable.ts'
import { parseSize, type Size } from '../../util/size.ts'
import type { BlockIo } from '../options/options.ts'
import { entries, invalid, list, range, text } from './values.ts'

/** {@link BlockIo} in one form: devices by their paths on the host. */
export interface NormalizedBlockIo {
  weight: number | undefined
  weightDevice: { path: string; weight: number }[]
  readBps: Throttle[]
  writeBps: Throttle[]
  readIops: Throttle[]
  writeIops: Throttle[]
}

interface Throttle {
  path: string
  rate: number
}

/**
 * @param least a rate; with 0, which is no limit, one that there was can be taken away
 * @throws `KEELSON_INVALID_OPTION`
 */
export function blockIo(
  given: BlockIo | undefined,
  least: 0 | 1 = 1,
): NormalizedBlockIo | undefined {
  if (given === undefined) return undefined
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid('blkio', `must be an object, not ${show(given)}`)
  }
  return {
    weight: range('blkio.weight', given.weight, 10, 1000),
    weightDevice: entries('blkio.weightDevice', given.weightDevice).map(([path, weight]) => {
      const checked = range('blkio.weightDevice', weight, 10, 1000) ?? 0
      return { path: devicePath(path), weight: checked }
    }),
    readBps: throttles('readBps', given.readBps, least),
    writeBps: throttles('writeBps', given.writeBps, least),
    readIops: throttles('readIops', given.readIops, least),
    writeIops: throttles('writeIops', given.writeIops, least),
  }
}

function throttles(
  name: string,
  rates: Record<string, Size> | undefined,
  least: 0 | 1,
): Throttle[] {
  return entries(`blkio.${name}`, rates).map(([path, rate]) => {
    const parsed = parseSize(rate, `blkio.${name}`)
    if (parsed < least) throw invalid(`blkio.${name}`, `has no rate above 0 for ${path}`)
    return { path: devicePath(path), rate: parsed }
  })
}

function devicePath(path: string): string {
  if (path.startsWith('/')) return text('blkio', path)
  throw invalid('blkio', `names no device by its path: ${path}`, 'Write it as "/dev/sda".')
}

/** @returns bytes by the kernel's name of the page size */
export function hugePageLimits(
  given: Record<string, Size> | undefined,
): { pageSize: string; limit: number }[] {
  return entries('hugetlb', given).map(([pageSize, limit]) => {
    if (!/^[1-9]\d*[KMG]B$/.test(pageSize)) {
      throw invalid('hugetlb', `names no page size: ${pageSize}`, 'Write it as "2MB" or "1GB".')
    }
    return { pageSize, limit: parseSize(limit, 'hugetlb') }
  })
}

/** Docker's words: `c 10:200 rwm`, `b 8:* r`, `a *:* rwm`. */
export function deviceRules(given: readonly string[] | undefined): DeviceRule[] {
  return list('deviceCgroupRules', given).map((rule) => {
    const match = /^([abc]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text('deviceCgroupRules', rule))
    if (match === null) {
      throw invalid(
        'deviceCgroupRules',
        `has a rule that cannot be read: ${JSON.stringify(rule)}`,
        'Write it as "c 10:200 rwm".',
      )
    }
    const [, type, major, minor, access = ''] = match
    return {
      allow: true,
      type: type as 'a' | 'b' | 'c',
      ...(major !== '*' && { major: Number(major) }),
      ...(minor !== '*' && { minor: Number(minor) }),
      access,
    }
  })
}
