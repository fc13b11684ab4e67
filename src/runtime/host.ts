import { constants } from 'node:fs'
import { access, readdir, readFile } from 'node:fs/promises'
import { arch, homedir, release, userInfo } from 'node:os'
import { join } from 'node:path'
import { parseCgroupMounts, type CgroupMode, type CgroupMount } from './cgroup-hierarchy.ts'
import { parseIdRanges, type SubordinateIds } from './subids.ts'

/** A cgroup directory of a mounted hierarchy, and what may be done there. */
export interface CgroupPlace extends CgroupMount {
  rootWritable: boolean
  ownWritable: boolean
}

export interface CgroupFacts {
  mode: CgroupMode
  v2?: CgroupPlace & {
    /** Controllers that children of the root, and of the own cgroup, can be given. */
    controllers: string[]
    ownControllers: string[]
    /** False in a container: its root is some cgroup of the host, and holds processes. */
    rootIsReal: boolean
  }
  v1: Record<string, CgroupPlace>
  /** Whether swap can be limited apart from memory. */
  swapAccounting: boolean
}

/** What this host is like, as far as files tell it to anybody. */
export interface HostFacts extends SubordinateIds {
  kernel: { release: string; version: readonly [number, number] }
  architecture: 'amd64' | 'arm64'
  userName?: string
  /** True when not root: everything happens in a user namespace then. */
  rootless: boolean
  cgroups: CgroupFacts
  /** systemd is the init of this system. */
  systemd: boolean
  /** Enabled in the kernel. */
  apparmor: boolean
  seccomp: boolean
  overlay: boolean
  userNamespaces: {
    /** user.max_user_namespaces; 0 forbids them. */
    max: number
    /** kernel.unprivileged_userns_clone of older Debian kernels. */
    unprivileged: boolean
    /** kernel.apparmor_restrict_unprivileged_userns of Ubuntu 23.10 and later. */
    restrictedByApparmor: boolean
  }
  /** `thermal_throttle` directories of the processors, which containers must not see. */
  thermalThrottle: string[]
  directories: {
    home: string
    /** $XDG_DATA_HOME, or its default. */
    data: string
    /** $XDG_RUNTIME_DIR, or /run/user/<uid>, when one of them can be used. */
    runtime?: string
  }
}

/** Reads everything at once: about a dozen small files of /proc and /sys. */
export async function readHostFacts(
  environment: NodeJS.ProcessEnv = process.env,
): Promise<HostFacts> {
  const uid = process.geteuid?.() ?? 0
  const gid = process.getegid?.() ?? 0
  const userName = nameOf(uid)
  const user = { name: userName, uid }
  const [cgroups, subuid, subgid, newuidmap, newgidmap, runtime, thermalThrottle, ...flags] =
    await Promise.all([
      readCgroups(),
      text('/etc/subuid'),
      text('/etc/subgid'),
      onPath('newuidmap', environment),
      onPath('newgidmap', environment),
      runtimeDirectory(uid, environment),
      thermalDirectories(),
      may('/run/systemd/system', constants.F_OK),
      text('/sys/module/apparmor/parameters/enabled'),
      may('/proc/sys/kernel/seccomp', constants.F_OK),
      text('/proc/filesystems'),
      text('/proc/sys/user/max_user_namespaces'),
      text('/proc/sys/kernel/unprivileged_userns_clone'),
      text('/proc/sys/kernel/apparmor_restrict_unprivileged_userns'),
    ])
  const [systemd, apparmor, seccomp, filesystems, maxUserns, userns, restricted] = flags
  const home = environment['HOME'] ?? homedir()
  return {
    kernel: { release: release(), version: parseKernelVersion(release()) },
    architecture: arch() === 'arm64' ? 'arm64' : 'amd64',
    uid,
    gid,
    ...(userName !== undefined && { userName }),
    rootless: uid !== 0,
    cgroups,
    systemd,
    apparmor: apparmor.startsWith('Y'),
    seccomp,
    // As a module it is loaded with the first mount; then only the helper's probe knows.
    overlay: /^nodev\toverlay$/m.test(filesystems),
    userNamespaces: {
      max: maxUserns === '' ? 0 : Number(maxUserns),
      unprivileged: userns.trim() !== '0',
      restrictedByApparmor: restricted.trim() === '1',
    },
    uidRanges: parseIdRanges(subuid, user),
    gidRanges: parseIdRanges(subgid, user),
    newuidmap,
    newgidmap,
    thermalThrottle,
    directories: {
      home,
      data: absolute(environment['XDG_DATA_HOME']) ?? join(home, '.local/share'),
      ...(runtime !== undefined && { runtime }),
    },
  }
}

/** Major and minor of `6.12.48+deb13-amd64`. */
export function parseKernelVersion(name: string): readonly [number, number] {
  const match = /^(\d+)\.(\d+)/.exec(name)
  return [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0)]
}

async function readCgroups(): Promise<CgroupFacts> {
  const mounts = parseCgroupMounts(
    await text('/proc/self/mountinfo'),
    await text('/proc/self/cgroup'),
  )
  const [v2, swapAccounting, ...v1] = await Promise.all([
    mounts.v2 && readUnified(mounts.v2),
    countsSwap(mounts),
    ...Object.entries(mounts.v1).map(async ([controller, mount]) => {
      return [controller, await writable(mount)] as const
    }),
  ])
  return { mode: mounts.mode, ...(v2 && { v2 }), v1: Object.fromEntries(v1), swapAccounting }
}

async function readUnified(mount: CgroupMount): Promise<NonNullable<CgroupFacts['v2']>> {
  const [place, controllers, ownControllers, nested] = await Promise.all([
    writable(mount),
    text(join(mount.root, 'cgroup.controllers')),
    mount.own === undefined ? '' : text(join(mount.own, 'cgroup.controllers')),
    // Every cgroup has this file but the root of the whole hierarchy.
    may(join(mount.root, 'cgroup.type'), constants.F_OK),
  ])
  return {
    ...place,
    controllers: words(controllers),
    ownControllers: words(ownControllers),
    rootIsReal: !nested,
  }
}

async function writable(mount: CgroupMount): Promise<CgroupPlace> {
  const [rootWritable, ownWritable] = await Promise.all([ours(mount.root), ours(mount.own)])
  return { ...mount, rootWritable, ownWritable }
}

/** Delegation hands over the directory and cgroup.procs. */
async function ours(directory: string | undefined): Promise<boolean> {
  if (directory === undefined) return false
  return (
    (await may(directory, constants.W_OK)) &&
    (await may(join(directory, 'cgroup.procs'), constants.W_OK))
  )
}

/** The root of v2 has no limits of its own; any cgroup below it shows whether swap is counted. */
async function countsSwap(mounts: { v2?: CgroupMount; v1: Record<string, CgroupMount> }) {
  const { memory } = mounts.v1
  if (memory) return may(join(memory.root, 'memory.memsw.limit_in_bytes'), constants.F_OK)
  const own = mounts.v2?.own
  if (own !== undefined && own !== mounts.v2?.root) {
    const controllers = words(await text(join(own, 'cgroup.controllers')))
    if (controllers.includes('memory')) return may(join(own, 'memory.swap.max'), constants.F_OK)
  }
  return !/\bswapaccount=0\b/.test(await text('/proc/cmdline'))
}

async function thermalDirectories(): Promise<string[]> {
  const root = '/sys/devices/system/cpu'
  const entries = await readdir(root).catch(() => [])
  const paths = entries.flatMap((name) =>
    /^cpu\d+$/.test(name) ? [join(root, name, 'thermal_throttle')] : [],
  )
  const present = await Promise.all(paths.map((path) => may(path, constants.F_OK)))
  return paths.filter((_, at) => present[at])
}

async function runtimeDirectory(uid: number, environment: NodeJS.ProcessEnv) {
  const candidates = [absolute(environment['XDG_RUNTIME_DIR']), `/run/user/${uid}`]
  for (const directory of candidates) {
    // After `su` the variable may still name another user's.
    if (directory !== undefined && (await may(directory, constants.W_OK))) return directory
  }
  return undefined
}

async function onPath(program: string, environment: NodeJS.ProcessEnv) {
  const directories = [...(environment['PATH'] ?? '').split(':'), '/usr/bin', '/bin']
  for (const directory of directories) {
    const path = absolute(directory) && join(directory, program)
    if (path && (await may(path, constants.X_OK))) return path
  }
  return undefined
}

/** The specification has relative paths ignored. */
function absolute(path: string | undefined): string | undefined {
  return path?.startsWith('/') ? path : undefined
}

function nameOf(uid: number): string | undefined {
  try {
    const info = userInfo()
    return info.uid === uid ? info.username : undefined
  } catch {
    // Not in /etc/passwd, as in many containers.
    return undefined
  }
}

async function may(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  )
}

async function text(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}

function words(list: string): string[] {
  return list.split(/\s+/).filter((word) => word !== '')
}
