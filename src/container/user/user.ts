import { keelsonError } from '../../errors.ts'
import type { IdMapping, UserNamespacePlan } from '../../runtime/protocol.ts'

/** Who a process is, and where its home is. */
export interface ContainerUser {
  uid: number
  gid: number
  /** The primary group first: access checks look at both. */
  additionalGids: number[]
  home: string
}

/** The texts of an image's `/etc/passwd` and `/etc/group`; empty where there is none. */
export interface UserDatabase {
  passwd: string
  group: string
}

const MAX_ID = 2 ** 31 - 1

/**
 * Finds `name`, `uid`, `name:group`, `uid:gid`, ... in an image's own files, as Docker does: numbers need not be listed there; without
 * a group, a listed user has the groups that list it. Empty means root.
 *
 * @throws `KEELSON_USER_NOT_FOUND`
 */
export function findUser(asked: string, database: UserDatabase): ContainerUser {
  const [userPart = '', groupPart, ...rest] = asked.split(':')
  if (rest.length > 0) throw notFound('user', asked)
  const wanted = userPart === '' ? '0' : userPart
  const number = identity(wanted)
  // What is a number is never a name: an image cannot make somebody else of it.
  const entry = passwdEntries(database.passwd).find((each) =>
    number === undefined ? each.name === wanted : each.uid === number,
  )
  if (entry === undefined && number === undefined) throw notFound('user', wanted)
  const uid = entry?.uid ?? number ?? 0
  const home = entry === undefined || entry.home === '' ? '/' : entry.home
  const groups = groupEntries(database.group)
  if (groupPart !== undefined && groupPart !== '') {
    const gid = findGroup(groupPart, groups)
    return { uid, gid, additionalGids: [gid], home }
  }
  const gid = entry?.gid ?? 0
  const member = groups.filter(({ members }) => entry !== undefined && members.includes(entry.name))
  return {
    uid,
    gid,
    additionalGids: [...new Set([gid, ...member.map((group) => group.gid)])],
    home,
  }
}

function findGroup(asked: string, groups: GroupEntry[]): number {
  const number = identity(asked)
  const gid = number ?? groups.find(({ name }) => name === asked)?.gid
  if (gid === undefined) throw notFound('group', asked)
  return gid
}

/**
 * The user as far as it exists in a user namespace: groups that are not mapped are left out, and all of them where setgroups(2) is denied.
 *
 * @throws `KEELSON_UNSUPPORTED` when the user itself does not exist there
 */
export function mapUser(user: ContainerUser, plan: UserNamespacePlan | undefined): ContainerUser {
  if (plan === undefined) return user
  const { uid, gid } = user
  if (!isMapped(plan.uidMappings, uid) || !isMapped(plan.gidMappings, gid)) {
    throw keelsonError('KEELSON_UNSUPPORTED', `Your user namespace has no user ${uid}:${gid}.`, {
      hint: 'Install newuidmap (Debian package uidmap) and give yourself ranges in /etc/subuid and /etc/subgid, or run as user "0".',
      user: `${uid}:${gid}`,
    })
  }
  const denied = plan.setgroups === 'deny'
  const groups = user.additionalGids.filter((id) => !denied && isMapped(plan.gidMappings, id))
  return { ...user, additionalGids: groups }
}

/** Whether an id of the user namespace stands for any of the host; without a namespace, each does. */
export function isMapped(mappings: readonly IdMapping[] | undefined, id: number): boolean {
  if (mappings === undefined) return true
  return mappings.some(({ containerID, size }) => id >= containerID && id < containerID + size)
}

interface GroupEntry {
  name: string
  gid: number
  members: string[]
}

function passwdEntries(text: string) {
  return lines(text).flatMap((line) => {
    const [name = '', , uidText = '', gidText = '', , home = ''] = line.split(':')
    const uid = identity(uidText)
    const gid = identity(gidText)
    return uid === undefined || gid === undefined ? [] : [{ name, uid, gid, home }]
  })
}

function groupEntries(text: string): GroupEntry[] {
  return lines(text).flatMap((line) => {
    const [name = '', , gidText = '', members = ''] = line.split(':')
    const gid = identity(gidText)
    return gid === undefined ? [] : [{ name, gid, members: members.split(',') }]
  })
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

function identity(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined
  const number = Number(text)
  return number <= MAX_ID ? number : undefined
}

function notFound(kind: 'user' | 'group', asked: string) {
  return keelsonError(
    'KEELSON_USER_NOT_FOUND',
    `The image knows no ${kind} ${JSON.stringify(asked)}.`,
    {
      hint: `Name one of its /etc/${kind === 'user' ? 'passwd' : 'group'}, or give numbers as "uid:gid".`,
      [kind]: asked,
    },
  )
}
