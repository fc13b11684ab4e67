import type { NormalizedMount } from '../volume/mount-spec.ts'
import type { OciMount } from './oci-runtime.ts'

/** What the mounts of a container depend on. */
export interface MountInput {
  privileged: boolean
  rootless: boolean
  /** Whether group 5 (tty) exists in the user namespace. */
  ttyGroup: boolean
  ownNetwork: boolean
  ownPid: boolean
  ownIpc: boolean
  /** The container has cgroups of its own to look at. */
  cgroups: boolean
  shmSize: number
  /** The root is, and so are the files mounted over the image's. */
  readonly: boolean
  /** Files of the host mounted over /etc/hosts, /etc/hostname, /etc/resolv.conf. */
  etc: { hosts: string; hostname: string; resolvConf: string }
  mounts: readonly NormalizedMount[]
}

const SAFE = ['nosuid', 'noexec', 'nodev']

/** Every mount of a container, in order: the system's own as Docker has them, then the caller's, outer before inner. Pure. */
export function planMounts(input: MountInput): OciMount[] {
  const asked = sortByDepth(input.mounts).map(userMount)
  const taken = new Set(asked.map(({ destination }) => destination))
  // A mount of the caller takes the place of the system's at the same path, and hides those below it.
  const hidden = (path: string) =>
    [...taken].some((each) => each === path || path.startsWith(`${each}/`))
  return [...systemMounts(input).filter(({ destination }) => !hidden(destination)), ...asked]
}

function systemMounts(input: MountInput): OciMount[] {
  const { privileged, rootless, etc } = input
  const writable = privileged ? 'rw' : 'ro'
  const named = ['rbind', 'rprivate', ...(input.readonly ? ['ro'] : [])]
  return [
    input.ownPid || !rootless
      ? mount('/proc', 'proc', 'proc', SAFE)
      : // Without a pid namespace of its own, a user namespace may not mount procfs anew.
        mount('/proc', 'bind', '/proc', ['rbind', ...SAFE]),
    mount('/dev', 'tmpfs', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', 'devpts', [
      'nosuid',
      'noexec',
      'newinstance',
      'ptmxmode=0666',
      'mode=0620',
      ...(input.ttyGroup ? ['gid=5'] : []),
    ]),
    input.ownNetwork || !rootless
      ? mount('/sys', 'sysfs', 'sysfs', [...SAFE, writable])
      : // sysfs shows a network; a user namespace can only mount it for one that it owns.
        mount('/sys', 'bind', '/sys', ['rbind', ...SAFE, 'rro']),
    ...(input.cgroups
      ? [mount('/sys/fs/cgroup', 'cgroup', 'cgroup', [writable, ...SAFE, 'relatime'])]
      : []),
    input.ownIpc || !rootless
      ? mount('/dev/mqueue', 'mqueue', 'mqueue', SAFE)
      : mount('/dev/mqueue', 'bind', '/dev/mqueue', ['rbind', ...SAFE]),
    input.ownIpc
      ? mount('/dev/shm', 'tmpfs', 'shm', [...SAFE, 'mode=1777', `size=${input.shmSize}`])
      : mount('/dev/shm', 'bind', '/dev/shm', ['rbind', ...SAFE]),
    mount('/etc/resolv.conf', 'bind', etc.resolvConf, named),
    mount('/etc/hostname', 'bind', etc.hostname, named),
    mount('/etc/hosts', 'bind', etc.hosts, named),
  ]
}

function userMount(spec: NormalizedMount): OciMount {
  if (spec.type === 'tmpfs') {
    return mount(spec.target, 'tmpfs', 'tmpfs', [
      ...SAFE,
      `mode=${spec.mode.toString(8)}`,
      ...(spec.size === undefined ? [] : [`size=${spec.size}`]),
    ])
  }
  // Recursive: `ro` alone leaves what is mounted below the source writable.
  const access = spec.readonly ? 'rro' : 'rw'
  return mount(spec.target, 'bind', spec.source, ['rbind', spec.propagation, access])
}

function sortByDepth(mounts: readonly NormalizedMount[]): NormalizedMount[] {
  return [...mounts].sort((a, b) => depth(a.target) - depth(b.target))
}

function depth(path: string): number {
  return path.split('/').length
}

function mount(destination: string, type: string, source: string, options: string[]): OciMount {
  return { destination, type, source, options: [...options] }
}
