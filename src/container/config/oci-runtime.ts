/**
 * The configuration of a container as the OCI runtime specification has it (`config.json`), as far as Keelson computes it, with the
 * `keelson` extension of `docs/helper-protocol.md`.
 */
import type { ContainerCgroups } from '../../runtime/cgroup.ts'
import type { NetworkPlan } from '../../runtime/network-protocol.ts'
import type { IdMapping, RootfsMount, WritableLayer } from '../../runtime/protocol.ts'
import type { LinuxCapabilities } from '../../security/capabilities.ts'
import type { DeviceRule, LinuxDevice } from '../../security/devices.ts'
import type { LinuxSeccomp } from '../../security/seccomp/types.ts'

export interface OciConfig {
  ociVersion: string
  process: OciProcess
  root: { path: string; readonly: boolean }
  hostname?: string
  domainname?: string
  mounts: OciMount[]
  annotations?: Record<string, string>
  linux: OciLinux
  keelson: KeelsonExtension
}

export interface OciProcess {
  terminal: boolean
  /** In characters. */
  consoleSize?: { width: number; height: number }
  user: { uid: number; gid: number; additionalGids: number[] }
  args: string[]
  env: string[]
  cwd: string
  capabilities: LinuxCapabilities
  rlimits: { type: string; soft: number; hard: number }[]
  noNewPrivileges: boolean
  apparmorProfile?: string
  oomScoreAdj?: number
}

export interface OciMount {
  destination: string
  type: string
  source: string
  options: string[]
}

export interface OciLinux {
  namespaces: { type: string; path?: string }[]
  uidMappings?: IdMapping[]
  gidMappings?: IdMapping[]
  devices: LinuxDevice[]
  sysctl?: Record<string, string>
  resources: OciResources
  seccomp?: LinuxSeccomp
  rootfsPropagation?: 'shared' | 'slave'
  maskedPaths: string[]
  readonlyPaths: string[]
}

export interface OciResources {
  devices: DeviceRule[]
  memory?: { limit?: number; reservation?: number; swap?: number; swappiness?: number }
  cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string }
  pids?: { limit: number }
  blockIO?: OciBlockIo
  hugepageLimits?: { pageSize: string; limit: number }[]
}

export interface OciBlockIo {
  weight?: number
  weightDevice?: { major: number; minor: number; weight: number }[]
  throttleReadBpsDevice?: OciThrottle[]
  throttleWriteBpsDevice?: OciThrottle[]
  throttleReadIOPSDevice?: OciThrottle[]
  throttleWriteIOPSDevice?: OciThrottle[]
}

interface OciThrottle {
  major: number
  minor: number
  rate: number
}

/** A file of the host that is bound into the container. */
export interface BundleFile {
  name: string
  text: string
}

/** A container some of whose namespaces are joined. */
export interface PeerPlan {
  /** Types of the specification, each in `linux.namespaces` by path. */
  namespaces: string[]
  /** Its `state.json`, and its monitor's directory: by them its process is found when the container starts. */
  state: string
  directory: string
  /** The bind mount at /dev/shm shows its /dev/shm. */
  shm: boolean
}

/** What of a mount the specification has no word for. */
export interface MountExtension {
  /** What is mounted in place of the source: the root file system of an image. */
  rootfs?: RootfsMount[]
  /** Only this of it. */
  subpath?: string
}

export interface KeelsonExtension {
  rootfs: RootfsMount[]
  layer?: WritableLayer
  /** The root file system is shown with the ids of the user namespace. */
  idmapRootfs?: boolean
  peers?: PeerPlan[]
  /** By the destination of a mount. */
  mounts?: Record<string, MountExtension>
  stdio: Record<'stdin' | 'stdout' | 'stderr', 'pipe' | 'null'>
  init: boolean
  cgroups: ContainerCgroups
  locks: { path: string; mode: 'shared' | 'exclusive' }[]
  bundle: string
  /** Made in the bundle by the helper. */
  files: BundleFile[]
  remove: string[]
  loopback: boolean
  network?: NetworkPlan
  ulimitClamp: boolean
}
