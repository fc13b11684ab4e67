import { keelsonError } from '../../errors.ts'
import type { RootfsMount } from '../../runtime/protocol.ts'
import type { VolumeSource } from '../../volume/local.ts'
import type { NormalizedMount } from '../../volume/mount-spec.ts'
import type { MountExtension, OciMount } from './oci-runtime.ts'

/** What the mounts of a container depend on. */
export interface MountInput {
  privileged: boolean
  /** In a user namespace, of its own or of the engine's. */
  nested: boolean
  /** Whether group 5 (tty) exists in the user namespace. */
  ttyGroup: boolean
  ownNetwork: boolean
  ownPid: boolean
  ipc: 'private' | 'shareable' | 'none' | 'host' | 'joined'
  /** The container has cgroups of its own to look at. */
  cgroups: boolean
  shmSize: number
  /** The root is, and so are the files mounted over the image's. */
  readonly: boolean
  /** Files of the host mounted over /etc/hosts, /etc/hostname, /etc/resolv.conf. */
  etc: { hosts: string; hostname: string; resolvConf: string }
  mounts: readonly NormalizedMount[]
  sources: MountSources
  /** Volumes keep the container's ids on the disk. */
  idmapVolumes: boolean
}

/** What stands behind the mounts that name something of the engine's. */
export interface MountSources {
  /** By name. */
  volumes: ReadonlyMap<string, VolumeSource>
  /** Root file systems of images, by the target of the mount. */
  images: ReadonlyMap<string, RootfsMount[]>
}

export const NO_SOURCES: MountSources = { volumes: new Map(), images: new Map() }

const SAFE = ['nosuid', 'noexec', 'nodev']

/**
 * Every mount of a container, in order: the system's own as Docker has them, then the caller's and the files of /etc, outer before inner.
 * Pure.
 */
export function planMounts(input: MountInput): OciMount[] {
  const asked = input.mounts.map((spec) => userMount(spec, input))
  const taken = new Set(asked.map(({ destination }) => destination))
  // A mount of the caller takes the place of the system's at the same path, and hides those below it.
  const hidden = (path: string) =>
    [...taken].some((each) => each === path || path.startsWith(`${each}/`))
  // Not so in /etc: a directory mounted there still gets the names of this container.
  const etc = etcMounts(input).filter(({ destination }) => !taken.has(destination))
  return [
    ...systemMounts(input).filter(({ destination }) => !hidden(destination)),
    ...sortByDepth([...asked, ...etc]),
  ]
}

/** What of the caller's mounts the specification has no word for, by destination. Pure. */
export function planMountExtensions(
  mounts: readonly NormalizedMount[],
  { images }: MountSources,
): Record<string, MountExtension> {
  return Object.fromEntries(
    mounts.flatMap((spec): [string, MountExtension][] => {
      const rootfs = spec.type === 'image' ? images.get(spec.target) : undefined
      const subpath = spec.type === 'tmpfs' ? undefined : spec.subpath
      if (rootfs === undefined && subpath === undefined) return []
      const extension = { ...(rootfs && { rootfs }), ...(subpath !== undefined && { subpath }) }
      return [[spec.target, extension]]
    }),
  )
}

/**
 * How the root file system stands to the host's mounts, where a bind mount asks for more than being private: what is to travel out has
 * to be shared on its way, what is to come in must not be stopped on it. Pure.
 *
 * @throws `KEELSON_UNSUPPORTED`
 */
export function planRootfsPropagation(
  mounts: readonly NormalizedMount[],
  { rootless }: { rootless: boolean },
): 'shared' | 'slave' | undefined {
  const asked = mounts.map((each) => (each.type === 'bind' ? each.propagation : ''))
  const shared = asked.some((each) => each.endsWith('shared'))
  if (shared && rootless) {
    throw keelsonError(
      'KEELSON_UNSUPPORTED',
      "An ordinary user's container cannot mount anything on the host.",
      { hint: "Give the mount propagation 'slave', or run as root.", option: 'mounts' },
    )
  }
  if (shared) return 'shared'
  return asked.some((each) => each.endsWith('slave')) ? 'slave' : undefined
}

function systemMounts(input: MountInput): OciMount[] {
  const { privileged, nested, ipc } = input
  const access = privileged ? [] : ['ro']
  return [
    input.ownPid || !nested
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
    input.ownNetwork || !nested
      ? mount('/sys', 'sysfs', 'sysfs', [...SAFE, ...access])
      : // sysfs shows a network; a user namespace can only mount it for one that it owns.
        mount('/sys', 'bind', '/sys', ['rbind', ...SAFE, 'rro']),
    ...(input.cgroups ? [mount('/sys/fs/cgroup', 'cgroup', 'cgroup', [...access, ...SAFE])] : []),
    ipc !== 'host' || !nested
      ? mount('/dev/mqueue', 'mqueue', 'mqueue', SAFE)
      : mount('/dev/mqueue', 'bind', '/dev/mqueue', ['rbind', 'rprivate']),
    ...sharedMemory(input),
  ]
}

function sharedMemory({ ipc, shmSize }: MountInput): OciMount[] {
  if (ipc === 'none') return []
  // Joined: the helper puts the other container's in place of the host's.
  if (ipc === 'host' || ipc === 'joined') {
    return [mount('/dev/shm', 'bind', '/dev/shm', ['rbind', 'rprivate'])]
  }
  return [mount('/dev/shm', 'tmpfs', 'shm', [...SAFE, 'mode=1777', `size=${shmSize}`])]
}

function etcMounts({ etc, readonly }: MountInput): OciMount[] {
  const named = ['rbind', 'rprivate', ...(readonly ? ['ro'] : [])]
  return [
    mount('/etc/resolv.conf', 'bind', etc.resolvConf, named),
    mount('/etc/hostname', 'bind', etc.hostname, named),
    mount('/etc/hosts', 'bind', etc.hosts, named),
  ]
}

function userMount(
  spec: NormalizedMount,
  { sources: { volumes }, idmapVolumes }: Pick<MountInput, 'sources' | 'idmapVolumes'>,
): OciMount {
  if (spec.type === 'tmpfs') {
    return mount(spec.target, 'tmpfs', 'tmpfs', [
      ...SAFE,
      ...(spec.readonly ? ['ro'] : []),
      ...(spec.mode === undefined ? [] : [`mode=${spec.mode.toString(8)}`]),
      ...(spec.uid === undefined ? [] : [`uid=${spec.uid}`]),
      ...(spec.gid === undefined ? [] : [`gid=${spec.gid}`]),
      ...(spec.size === undefined ? [] : [`size=${spec.size}`]),
    ])
  }
  if (spec.type === 'image') {
    return mount(spec.target, 'bind', spec.source, ['rbind', 'rprivate', 'rro'])
  }
  // Recursive: `ro` alone leaves what is mounted below the source writable.
  const access = spec.readonly ? ['rro'] : []
  if (spec.type === 'bind') {
    const ids = spec.idmap ? ['idmap'] : []
    return mount(spec.target, 'bind', spec.source, ['rbind', spec.propagation, ...access, ...ids])
  }
  const source = volumes.get(spec.source)
  if (source?.kind === 'mount') {
    const { type, device, options } = source
    return mount(spec.target, type, device, [...options, ...(spec.readonly ? ['ro'] : [])])
  }
  const ids = idmapVolumes ? ['idmap'] : []
  const options = ['rbind', 'rprivate', ...access, ...ids]
  return mount(spec.target, 'bind', source?.path ?? spec.source, options)
}

function sortByDepth(mounts: readonly OciMount[]): OciMount[] {
  return mounts.toSorted((a, b) => depth(a.destination) - depth(b.destination))
}

function depth(path: string): number {
  return path.split('/').length
}

function mount(destination: string, type: string, source: string, options: string[]): OciMount {
  return { destination, type, source, options: [...options] }
}
