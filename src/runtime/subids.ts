import type { IdMapping, UserNamespacePlan } from './protocol.ts'

/** Ids that a user may map into a user namespace beside the own one. */
export interface IdRange {
  start: number
  size: number
}

/** What decides how an ordinary user becomes root of a user namespace. */
export interface SubordinateIds {
  uid: number
  gid: number
  uidRanges: readonly IdRange[]
  gidRanges: readonly IdRange[]
  newuidmap?: string | undefined
  newgidmap?: string | undefined
}

const MAX_ID = 0xffff_ffff

/**
 * The ranges that /etc/subuid or /etc/subgid (subuid(5)) gives to a user, who may stand there by name or by number.
 * Lines that cannot be read are passed over, as shadow's own tools do.
 */
export function parseIdRanges(
  text: string,
  user: { name?: string | undefined; uid: number },
): IdRange[] {
  return text.split('\n').flatMap((line) => {
    const match = /^([^:#]+):(\d+):(\d+)$/.exec(line.trim())
    if (!match || (match[1] !== user.name && match[1] !== String(user.uid))) return []
    const [start, size] = [Number(match[2]), Number(match[3])]
    return size > 0 && start + size - 1 < MAX_ID ? [{ start, size }] : []
  })
}

/**
 * How the launcher becomes root without being it: the user is root inside, and all subordinate ids follow from 1 on.
 * Without subordinate ids, or without the setuid programs that may map them, there is only the one id: images whose
 * files belong to several users cannot be told apart then.
 */
export function planUserNamespace(ids: SubordinateIds): UserNamespacePlan {
  const { newuidmap, newgidmap } = ids
  const whole = ids.uidRanges.length > 0 && ids.gidRanges.length > 0
  if (!newuidmap || !newgidmap || !whole) {
    return {
      uidMappings: [{ containerID: 0, hostID: ids.uid, size: 1 }],
      gidMappings: [{ containerID: 0, hostID: ids.gid, size: 1 }],
      // Unprivileged gid maps are accepted only after setgroups(2) was given up: user_namespaces(7).
      setgroups: 'deny',
    }
  }
  return {
    uidMappings: mappings(ids.uid, ids.uidRanges),
    gidMappings: mappings(ids.gid, ids.gidRanges),
    newuidmap,
    newgidmap,
    setgroups: 'allow',
  }
}

function mappings(own: number, ranges: readonly IdRange[]): IdMapping[] {
  const all: IdMapping[] = [{ containerID: 0, hostID: own, size: 1 }]
  let next = 1
  for (const { start, size } of ranges) {
    all.push({ containerID: next, hostID: start, size })
    next += size
  }
  return all
}
