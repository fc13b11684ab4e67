/**
 * Which cgroup hierarchies are mounted, and where this process stands in them: read from the texts of
 * /proc/self/mountinfo and /proc/self/cgroup. Pure.
 */
import { join } from 'node:path'

/** `v1` beside a v2 mount is `hybrid`: most controllers belong to v1 then. */
export type CgroupMode = 'v2' | 'v1' | 'hybrid' | 'none'

/** One mounted hierarchy. */
export interface CgroupMount {
  /** The directory of its root, as far as this process can see. */
  root: string
  /** The directory of this process's own cgroup; absent when it lies outside of what is mounted. */
  own?: string
}

export interface CgroupMounts {
  mode: CgroupMode
  v2?: CgroupMount
  /** By controller. Controllers that are mounted together share a directory. */
  v1: Record<string, CgroupMount>
}

/**
 * @param mountinfo text of /proc/self/mountinfo, see proc_pid_mountinfo(5)
 * @param membership text of /proc/self/cgroup, see cgroups(7)
 */
export function parseCgroupMounts(mountinfo: string, membership: string): CgroupMounts {
  const own = parseMembership(membership)
  const v1: Record<string, CgroupMount> = {}
  let v2: CgroupMount | undefined
  for (const mount of mountinfo.split('\n').map(parseMount)) {
    if (mount?.type === 'cgroup2') v2 ??= place(mount, own.get(''))
    if (mount?.type !== 'cgroup') continue
    // A named hierarchy (name=systemd) only groups processes.
    for (const controller of mount.options.filter((option) => own.has(option))) {
      if (!controller.startsWith('name=')) v1[controller] ??= place(mount, own.get(controller))
    }
  }
  const legacy = Object.keys(v1).length > 0
  const mode = v2 ? (legacy ? 'hybrid' : 'v2') : legacy ? 'v1' : 'none'
  return { mode, ...(v2 && { v2 }), v1 }
}

/** The path in each hierarchy, by controller; that of v2 under the empty name. */
export function parseMembership(text: string): Map<string, string> {
  const own = new Map<string, string>()
  for (const line of text.split('\n')) {
    const match = /^\d+:([^:]*):(\/.*)$/.exec(line)
    for (const controller of match?.[1]?.split(',') ?? []) own.set(controller, match?.[2] ?? '/')
  }
  return own
}

interface Mount {
  /** The part of the hierarchy that is mounted. */
  root: string
  directory: string
  type: string
  options: string[]
}

function parseMount(line: string): Mount | undefined {
  const [before = '', after = ''] = line.split(' - ')
  const [, , , root, directory] = before.split(' ')
  const [type, , options] = after.split(' ')
  if (!root || !directory || !type) return undefined
  return {
    root: unescape(root),
    directory: unescape(directory),
    type,
    options: options?.split(',') ?? [],
  }
}

function place({ root, directory }: Mount, path = '/'): CgroupMount {
  const inside =
    root === '/'
      ? path
      : path === root
        ? '/'
        : path.startsWith(`${root}/`)
          ? path.slice(root.length)
          : undefined
  // `/..` leads out of a cgroup namespace.
  if (inside === undefined || inside.split('/').includes('..')) return { root: directory }
  return { root: directory, own: inside === '/' ? directory : join(directory, inside) }
}

/** Blanks, tabs, line ends and backslashes are octal in mountinfo. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
