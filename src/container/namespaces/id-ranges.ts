/** Ranges of ids for containers with users of their own. Pure. */
import { parseIdRanges, type IdRange } from '../../runtime/subids.ts'
import type { UserMappings } from './options.ts'

/** Ids a container has. */
export const RANGE_SIZE = 65536

/** Who may hold the ranges of all containers in /etc/subuid and /etc/subgid; the second is containers/storage's name. */
const HOLDERS = ['keelson', 'containers']

/**
 * Where nobody of {@link HOLDERS} has any: 1879048192 to 2147352575, above what shadow and systemd give to anybody, and below the ids that
 * programs take for negative numbers.
 */
const DEFAULT: IdRange = { start: 0x7000_0000, size: 0x7ffe_0000 - 0x7000_0000 }

/** Where a range begins. */
export interface RangeStart {
  uid: number
  gid: number
}

/**
 * Every range that a container may have, lowest first.
 *
 * @param subuid the text of /etc/subuid
 * @param subgid the text of /etc/subgid
 */
export function* idRanges(subuid: string, subgid: string): Generator<RangeStart> {
  for (const name of HOLDERS) {
    const uids = [...starts(parseIdRanges(subuid, { name, uid: -1 }))]
    const gids = [...starts(parseIdRanges(subgid, { name, uid: -1 }))]
    if (uids.length === 0 || gids.length === 0) continue
    for (const [index, uid] of uids.entries()) {
      const gid = gids[index]
      if (gid !== undefined) yield { uid, gid }
    }
    return
  }
  const taken = [...everyRange(subuid), ...everyRange(subgid)]
  for (const start of starts([DEFAULT])) {
    if (!taken.some((range) => overlaps(range, start))) yield { uid: start, gid: start }
  }
}

export function mappingsOf({ uid, gid }: RangeStart): UserMappings {
  return {
    uidMappings: [{ containerID: 0, hostID: uid, size: RANGE_SIZE }],
    gidMappings: [{ containerID: 0, hostID: gid, size: RANGE_SIZE }],
  }
}

function* starts(ranges: readonly IdRange[]): Generator<number> {
  for (const { start, size } of ranges) {
    for (let next = start; next + RANGE_SIZE <= start + size; next += RANGE_SIZE) yield next
  }
}

function everyRange(text: string): IdRange[] {
  const names = new Set(text.split('\n').map((line) => line.split(':')[0] ?? ''))
  return [...names].flatMap((name) => parseIdRanges(text, { name, uid: -1 }))
}

function overlaps({ start, size }: IdRange, other: number): boolean {
  return start < other + RANGE_SIZE && other < start + size
}
