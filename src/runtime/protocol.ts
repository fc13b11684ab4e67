/**
 * The typed form of `docs/helper-protocol.md`: what Node asks of the helper and what it hears back.
 */

import type { Socket } from 'node:net'
import type { NetworkOperations, NetworkPlan, SocketRequest } from './network-protocol.ts'

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
      /** In place of `upper` and `work`: what is written is kept in memory, and goes with the mount. */
      tmpfs?: { size?: number | undefined }
    }
  | { type: 'bind'; source: string; readonly?: boolean }

/** A writable layer that is still to be made, for an overlay whose `upper` and `work` are in it. */
export interface WritableLayer {
  directory: string
  /** Of `upper`, the container's root directory. */
  mode: number
  /** Default: the helper's user. */
  owner?: { uid: number; gid: number }
}

/** A name or path of a container, which may be any bytes: text where they are UTF-8. */
export type WireBytes = string | { base64: string }

/** A container's first process, and that process's parent, by which a number used again is noticed. */
export interface FirstProcess {
  pid: number
  parent: number
}

/** Which root file system an operation on files works in. Paths are resolved in it by the kernel and never lead out. */
export type RootPlace =
  /** A running container's. */
  | (FirstProcess & {
      /** Default true; false: without what is mounted in it. */
      submounts?: boolean
    })
  /** One that nobody runs in, mounted for the operation alone, with what else a container would see in it. */
  | {
      rootfs: RootfsMount[]
      binds?: { source: string; target: string; subpath?: string | undefined; readonly?: boolean }[]
    }
  /** A directory of this host. */
  | { directory: string }

/** What stat(2) says. Times are seconds and nanoseconds. */
export interface WireStat {
  type: 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo' | 'socket' | 'unknown'
  mode: number
  uid: number
  gid: number
  size: number
  nlink: number
  ino: number
  dev: number
  device?: [major: number, minor: number]
  blocks: number
  atime: [number, number]
  mtime: [number, number]
  ctime: [number, number]
  /** Where a symbolic link points to. */
  link?: WireBytes
}

export interface WireChange {
  kind: 'added' | 'changed' | 'deleted'
  /** Relative to the root, which itself is `.`. */
  path: WireBytes
  type: WireStat['type']
}

/** A container's root file system beside the one it began as. */
export interface CompareRoots {
  rootfs: RootfsMount[]
  base: RootfsMount[]
  /** Where something was mounted: empty files and directories that were made for that are no change. */
  mountpoints?: WireBytes[]
}

/** A list, or null where it is too long for an answer and comes as JSON text over the offered stream. */
export interface WireList<T> {
  entries: T[] | null
}

/** A pipe in a worker process, to be opened anew by its number. */
export interface OfferedStream {
  pid: number
  fd: number
}

/** What the helper says of a failure. */
export interface HelperFailure {
  step: string
  errno?: string
  path?: string
  detail?: string
  kind?: string
}

/** A {@link HelperFailure} as it travels: with the number of its errno. */
export type WireFailure = Omit<HelperFailure, 'errno'> & { errno?: number }

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
export interface Operations extends NetworkOperations {
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
  /**
   * Makes a container as `run` does, but for its program: `args` and `env` of its `process` are not used. The answer comes when it is under
   * way; what goes wrong after that shows in `standby.run`.
   */
  standby: [{ container: string; config: object }, object]
  /** Executes a program in one that waits; from then on as after `run`. */
  'standby.run': [
    {
      container: string
      program: { args: string[]; env: string[]; network?: NetworkPlan }
      files?: { name: string; text: string }[]
    },
    { pid: number; warnings: string[] },
  ]
  /** Ends one that was not asked for, if it is there; answers when nothing is left of it. */
  'standby.remove': [{ container: string }, object]
  /** Forks a monitor (`./monitor-protocol.ts`) that listens in `directory`; one that is `bound` ends with the launcher, and its container with it. */
  monitor: [{ container: string; directory: string; bound: boolean }, { pid: number }]
  /**
   * Makes a writable layer and mounts the root file system on it, for a container to come whose `rootfs` is this. The last one is kept until
   * then.
   */
  spare: [WritableLayer & { rootfs: RootfsMount }, object]
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
  /** But for the entries of `path` that are named. */
  'tree.usage': [{ path: string; except?: readonly string[] }, { bytes: number; inodes: number }]
  'tree.sync': [{ path: string }, object]
  /** Connects to a TCP port in the network namespace of a process (default: of loopback). The {@link SocketRequest.socket} is a `net.Socket`. */
  'net.connect': [
    SocketRequest & FirstProcess & { port: number; host?: string | undefined },
    object,
  ]
  'fs.read': [
    RootPlace & { paths: WireBytes[]; limit: number },
    { files: ({ data: string } | { errno: string })[] },
  ]
  /** Offers a stream to read, unless the file is empty. */
  'fs.open': [RootPlace & { path: WireBytes }, { bytes: number }]
  'fs.stat': [RootPlace & { path: WireBytes; follow: boolean }, WireStat]
  'fs.list': [RootPlace & { path: WireBytes }, WireList<WireStat & { name: WireBytes }>]
  'fs.write': [
    RootPlace & {
      path: WireBytes
      /** Base64. Absent: offers a stream to write at least one byte to. */
      data?: string
      flag: 'w' | 'a' | 'wx'
      uid?: number | undefined
      gid?: number | undefined
      mode?: number | undefined
    },
    { bytes: number },
  ]
  'fs.mkdir': [
    RootPlace & {
      path: WireBytes
      recursive: boolean
      uid?: number | undefined
      gid?: number | undefined
      mode?: number | undefined
    },
    { made: WireBytes | null },
  ]
  'fs.remove': [RootPlace & { path: WireBytes; recursive: boolean; force: boolean }, object]
  /** Offers a stream to read: a tar archive. */
  'archive.create': [
    RootPlace & {
      /** `name` is what the file is called in the archive; empty: what is in the directory has no prefix. */
      sources: { path: WireBytes; name: WireBytes; follow?: boolean }[]
    },
    { entries: number },
  ]
  /** Offers a stream to write to: a tar archive, plain, gzip or zstd. */
  'archive.extract': [
    RootPlace & {
      /** The directory that names in the archive are relative to. */
      path: WireBytes
      /** Make it when it is missing. Default false. */
      create?: boolean
      uid?: number | undefined
      gid?: number | undefined
      /** Of files; directories can be entered besides, by whoever may read. */
      mode?: number | undefined
      devices: 'create' | 'skip'
      owners?: 'keep' | 'squash'
      /** Without set-id bits and extended attributes. Default false. */
      tame?: boolean
    },
    { entries: number; bytes: number; skipped: LayerApplied['skipped'] },
  ]
  'tree.diff': [CompareRoots, WireList<WireChange>]
  /** Writes what a container changed as a layer into `file`, which must not exist. */
  'layer.create': [
    CompareRoots & { file: string; compression: 'none' | 'gzip' },
    { entries: number; digest: string; size: number; diffId: string },
  ]
  'cgroup.remove': [{ paths: string[] }, object]
  /** Copies what the image has at `path` into the volume's `data`, if that is empty; whole or not at all. */
  'volume.populate': [
    { rootfs: RootfsMount[]; path: string; directory: string; durable: boolean },
    { populated: boolean },
  ]
}

export type Operation = keyof Operations
export type Arguments<Op extends Operation> = Operations[Op][0]
export type Answer<Op extends Operation> = Operations[Op][1]

/** The numbers that standard streams have in the process `pid` until they are released. */
export interface StdioEvent {
  event: 'stdio'
  /** Or the name of an exec. */
  container: string
  pid: number
  stdin?: number
  stdout?: number
  stderr?: number
}

/** What the helper says of a container without being asked. */
export type HelperEvent =
  | StdioEvent
  | {
      event: 'exit'
      container: string
      code: number | null
      signal: number | null
      oomKilled: boolean
    }
  | { event: 'removed'; container: string; errors: HelperFailure[] }

/** What the helper says of a request before its answer. */
export interface Progress {
  /** Bytes. */
  read?: number
  stream?: OfferedStream
  /** Number of a {@link FaultsUpdate} that was carried out, unless there is an `error`. */
  update?: number
  error?: WireFailure
}

/** What every request takes. */
export interface RequestOptions {
  /** Cancels the work in the helper; the request then rejects with `KEELSON_ABORTED`. */
  signal?: AbortSignal | undefined
  onProgress?: ((progress: Progress) => void) | undefined
  /** It does not keep the program running. Default false. */
  background?: boolean | undefined
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

/** Makes sockets where this process is not. */
export interface SocketMaker {
  /** A connection, not read from yet. */
  connect(args: Omit<Arguments<'net.connect'>, 'socket'>, options?: RequestOptions): Promise<Socket>
  /** A socket that listens, for a server's `listen()`. */
  listen(
    args: Omit<Arguments<'network.listen'>, 'socket'>,
    options?: RequestOptions,
  ): Promise<ListeningHandle>
}

/** Node's own, of which nothing is promised but that servers take it and that it can be closed. */
export interface ListeningHandle {
  close(): void
}
