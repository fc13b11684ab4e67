/**
 * The typed form of `docs/helper-protocol.md`: what Node asks of the helper and what it hears back.
 */

/** Both sides must speak exactly this version. */
export const PROTOCOL_VERSION = 1

/** One line of a user namespace map, as in the OCI runtime specification. */
export interface IdMapping {
  containerID: number
  hostID: number
  size: number
}

/** How an unprivileged launcher becomes root of its own user namespace. */
export interface UserNamespacePlan {
  uidMappings: IdMapping[]
  gidMappings: IdMapping[]
  /** The setuid programs of shadow's `uidmap`; absent: a single id is mapped without them. */
  newuidmap?: string
  newgidmap?: string
  setgroups: 'allow' | 'deny'
}

/** A part of a root file system: the one value that storage hands to execution. */
export type RootfsMount =
  | {
      type: 'overlay'
      /** Topmost first. */
      lower: string[]
      upper?: string
      work?: string
      options?: string[]
    }
  | { type: 'bind'; source: string; readonly?: boolean }

/** What the helper says of a failure. */
export interface HelperFailure {
  step: string
  errno?: string
  path?: string
  detail?: string
  kind?: string
}

/** How whiteouts of a layer are written down. */
export type LayerFormat = 'overlay' | 'overlay-userxattr' | 'plain'

/** Facts about this host that only a system call can tell. */
export interface ProbeResult {
  /** Can overlay be mounted with its upper directory here; the errno when not. */
  overlay: ProbeFact
  overlayUserxattr: ProbeFact
  /** `lowerdir+` of fsconfig (Linux 6.7), which lifts the limit on the number of layers. */
  overlayLowerdirPlus: ProbeFact
  namespaces: Record<
    'mount' | 'pid' | 'ipc' | 'uts' | 'net' | 'cgroup' | 'user' | 'time',
    ProbeFact
  >
  openat2: ProbeFact
  cloneIntoCgroup: ProbeFact
  mountSetattr: ProbeFact
  idmappedMounts: ProbeFact
  reflink: ProbeFact
  seccompActions: string[]
  /** Effective capabilities of the launcher, by name (`CAP_SYS_ADMIN`, ...). */
  capabilities: string[]
  /** In the launcher, after any user namespace was entered. */
  uid: number
  pageSize: number
}

export interface ProbeFact {
  ok: boolean
  errno?: string
}

export interface LayerApply {
  source: string
  size: number
  follow: boolean
  compression: 'none' | 'gzip' | 'zstd'
  target: string
  format: LayerFormat
  limits: { bytes: number; entries: number; ratio: number }
  devices: 'create' | 'skip'
  /** Owners that the user namespace has no id for: an error (default), or root instead. */
  owners?: 'keep' | 'squash'
}

export interface LayerApplied {
  diffId: string
  bytes: number
  entries: number
  inherited: string[]
  links: [string, string][]
  /**
   * What was left out, by count: device nodes (`devices: 'skip'`), extended attributes that a layer may not set or the
   * target cannot hold, owners that became root (`owners: 'squash'`).
   */
  skipped: { devices: number; xattrs: number; owners: number }
}

/** Every operation: its arguments and its answer. */
export interface Operations {
  hello: [
    {
      protocol: number
      user?: UserNamespacePlan
      /** Cgroups the launcher moves into first, made when missing. */
      cgroupLeave?: string[]
    },
    { protocol: number; version: string; pid: number },
  ]
  run: [{ container: string; config: object }, { pid: number; warnings: string[] }]
  /** Forks a monitor (`./monitor-protocol.ts`) that listens in `directory`; with `lifeline` it ends its container when the launcher ends. */
  monitor: [{ container: string; directory: string; lifeline: boolean }, { pid: number }]
  kill: [{ container: string; signal?: number; all?: boolean }, object]
  lock: [{ path: string; mode: 'shared' | 'exclusive'; wait: boolean }, { lock: number }]
  unlock: [{ lock: number }, object]
  mkdirs: [{ paths: string[]; mode: number }, object]
  probe: [{ directory: string }, ProbeResult]
  'layer.apply': [LayerApply, LayerApplied]
  'layer.inherit': [
    {
      target: string
      /** Topmost first. */
      parents: string[]
      inherited: string[]
      links: [string, string][]
      format: LayerFormat
    },
    object,
  ]
  'tree.copy': [{ from: string; to: string }, { bytes: number }]
  'tree.remove': [{ paths: string[] }, object]
  'tree.usage': [{ path: string }, { bytes: number; inodes: number }]
  'tree.sync': [{ path: string }, object]
  'fs.read': [
    { rootfs: RootfsMount[]; paths: string[]; limit: number },
    { files: ({ data: string } | { errno: string })[] },
  ]
  'cgroup.remove': [{ paths: string[] }, object]
}

export type Operation = keyof Operations
export type Arguments<Op extends Operation> = Operations[Op][0]
export type Answer<Op extends Operation> = Operations[Op][1]

/** What the helper says of a container without being asked. */
export type HelperEvent =
  | {
      event: 'stdio'
      container: string
      pid: number
      stdin?: number
      stdout?: number
      stderr?: number
    }
  | {
      event: 'exit'
      container: string
      code: number | null
      signal: number | null
      oomKilled: boolean
    }
  | { event: 'removed'; container: string; errors: HelperFailure[] }

/** What every request takes. */
export interface RequestOptions {
  /** Cancels the work in the helper; the request then rejects with `KEELSON_ABORTED`. */
  signal?: AbortSignal | undefined
  onProgress?: ((progress: { read?: number }) => void) | undefined
}

/**
 * What the engine needs of the helper, so that storage and execution can be handed any launcher.
 * Rejects with `KEELSON_HELPER_FAILED` whose `failure` field is the {@link HelperFailure}; callers that can say
 * something better convert it.
 */
export interface Helper {
  request<Op extends Operation>(
    op: Op,
    args: Arguments<Op>,
    options?: RequestOptions,
  ): Promise<Answer<Op>>
}
