import type { Digest } from '../../oci/digest.ts'
import type { ExecutionParameters } from '../../oci/image-config.ts'
import type { Attached, AttachedEndpoint } from '../../network/endpoint/attached.ts'
import type { ContainerStatus, MonitorState } from '../../runtime/monitor-protocol.ts'
import { commandLine } from '../config/command.ts'
import { exitOf, type ContainerExit } from '../lifecycle/monitor-state.ts'
import type { UserMappings } from '../namespaces/options.ts'
import type { OciConfig } from '../config/oci-runtime.ts'
import type { ContainerRecord } from '../record/record.ts'
import { planStop } from '../lifecycle/plan.ts'
import type { LogSink } from '../logs/sink.ts'
import type { PublishedPort } from '../../network/firewall/ports.ts'
import type { NormalizedMount } from '../../volume/mount-spec.ts'
import { givenOptions, type GivenOptions } from './given-options.ts'

/** How a container is, at one moment. */
export interface ContainerState extends ContainerExit {
  status: ContainerStatus
  /** Of its process 1, as the host sees it; 0 when it has none. */
  pid: number
  startedAt?: Date
  finishedAt?: Date
  /** Why it could not be started, the last time. */
  error?: string
  /** It was asked to end. */
  stopped: boolean
  restartCount: number
  health?: ContainerHealth
}

/** What a container is on one of its networks. */
export interface ContainerNetwork {
  id: string
  name: string
  /** Of IPv4 and IPv6. */
  addresses: string[]
  mac: string
  /** Its name in the container: `eth0`. */
  interface: string
  aliases: readonly string[]
  priority: number
}

export interface ContainerHealth {
  status: 'starting' | 'healthy' | 'unhealthy'
  /** Failures in a row. */
  failingStreak: number
  /** The last five, newest last. */
  log: { start: Date; end: Date; exitCode: number; output: string }[]
}

/** All about a container, as plain data. Sizes in bytes, times in milliseconds. */
export interface ContainerInspect {
  id: string
  name: string
  createdAt: Date
  image: {
    /** As it was asked for. */
    reference: string
    id: Digest
    digest: Digest
    platform: { os: string; architecture: string; variant?: string }
  }
  labels: Record<string, string>
  state: ContainerState
  /** The program and its arguments, from options and image. */
  command: string[]
  hostname: string
  /** Which users of the host its users are; absent: the same. */
  userMappings?: UserMappings
  /** Those that it is on now; none when it does not run, and where it has no network of its own. */
  networks: ContainerNetwork[]
  /** What it publishes while it runs, with the numbers of those that were to be free ones. */
  ports: PublishedPort[]
  /** What `create()` makes its like of; see {@link GivenOptions}. */
  options: GivenOptions
  /** What is mounted, besides the system's own: with the names of volumes that have none, those that the image declares among them. */
  mounts: InspectedMount[]
  /** What the image says of how to run it. */
  imageConfig: ExecutionParameters
  stopSignal: number
  stopTimeout: number
  /** File of the log; absent with another driver. */
  logPath?: string
  /** Host paths. */
  directories: { record: string; run: string; writable: string[] }
  /** The configuration by the OCI runtime specification that it is, or would be, started with. */
  runtime: OciConfig
}

/** A mount as it was found, or made, for the container. */
export interface InspectedMount {
  type: 'bind' | 'volume' | 'tmpfs' | 'image'
  target: string
  /** A path of the host, the name of a volume, or the id of an image; absent for memory. */
  source?: string
  readonly: boolean
  /** A volume without a name that was made for this container. */
  anonymous: boolean
}

export function containerState(
  status: ContainerStatus,
  state: MonitorState | undefined,
): ContainerState {
  const started = date(state?.startedAt)
  const finished = date(state?.finishedAt)
  return {
    status,
    pid: state?.pid ?? 0,
    ...exitOf(state),
    ...(started && { startedAt: started }),
    ...(finished && { finishedAt: finished }),
    ...(state?.error !== undefined && {
      error: [state.error.step, state.error.path, state.error.errno, state.error.detail]
        .filter(Boolean)
        .join(': '),
    }),
    stopped: state?.stopped ?? false,
    restartCount: state?.restartCount ?? 0,
    ...(state?.health && { health: containerHealth(state.health) }),
  }
}

export function containerHealth(health: NonNullable<MonitorState['health']>): ContainerHealth {
  return {
    status: health.status,
    failingStreak: health.failingStreak,
    log: health.log.map(({ start, end, exitCode, output }) => ({
      start: new Date(start),
      end: new Date(end),
      exitCode,
      output: Buffer.from(output, 'base64').toString('utf8'),
    })),
  }
}

/** Pure. */
export function inspectContainer(input: {
  record: ContainerRecord
  state: ContainerState
  hostname: string
  attached: Attached | undefined
  runtime: OciConfig
  directory: string
  logPath: string
  sink: LogSink | undefined
}): ContainerInspect {
  const { record, runtime } = input
  const { parameters, chain: _, descriptor: __, ...image } = record.image
  const stop = planStop(record.options, parameters)
  return {
    id: record.id,
    name: record.name,
    createdAt: new Date(record.createdAt),
    image,
    labels: record.labels,
    state: input.state,
    command: commandLine(record.options, parameters),
    hostname: input.hostname,
    ...userMappings(runtime),
    networks: (input.attached?.endpoints ?? []).map(containerNetwork),
    ports: input.attached?.ports ?? [],
    options: givenOptions(record, input.sink),
    mounts: record.options.mounts.map(inspectedMount),
    imageConfig: parameters,
    stopSignal: stop.signal,
    stopTimeout: stop.timeout,
    ...(record.options.logs.driver === 'file' && { logPath: input.logPath }),
    directories: { record: input.directory, run: record.run, writable: record.rootfs.remove },
    runtime,
  }
}

function containerNetwork(endpoint: AttachedEndpoint): ContainerNetwork {
  const { network, name, addresses, mac, interface: link, aliases, priority } = endpoint
  return { id: network, name, addresses, mac, interface: link, aliases, priority }
}

function inspectedMount(mount: NormalizedMount): InspectedMount {
  const { type, target } = mount
  const source =
    type === 'image'
      ? (mount.image?.id ?? mount.source)
      : type !== 'tmpfs'
        ? mount.source
        : undefined
  return {
    type,
    target,
    ...(source !== undefined && { source }),
    readonly: type === 'image' || mount.readonly,
    anonymous: type === 'volume' && mount.anonymous,
  }
}

function userMappings({ linux }: OciConfig): { userMappings?: UserMappings } {
  const { uidMappings, gidMappings } = linux
  if (uidMappings === undefined || gidMappings === undefined) return {}
  return { userMappings: { uidMappings, gidMappings } }
}

function date(text: string | undefined): Date | undefined {
  return text === undefined ? undefined : new Date(text)
}
