import type { Network } from '../../network/network.ts'
import type { PortSpec } from '../../network/firewall/ports.ts'
import type { Readable } from 'node:stream'
import type { Duration } from '../../util/duration.ts'
import type { Size } from '../../util/size.ts'
import type { Mount } from '../../volume/mount-spec.ts'
import type { SharedWith, SharedWithText, UserMappings } from '../namespaces/options.ts'

/** A limit of setrlimit(2): one number for both, or apart; -1 is unlimited. */
export type Ulimit = number | { soft: number; hard: number }

/** A device node of the host in the container. */
export interface Device {
  /** Path on the host. */
  path: string
  /** Path in the container. Default: the same. */
  target?: string
  /** Of read, write, mknod. Default `rwm`. */
  access?: string
}

/** Limits of block devices, by the devices' paths on the host. Bytes (or `'1m'`) or operations a second. */
export interface BlockIo {
  /** Share of the disk against other cgroups, 10 to 1000. */
  weight?: number
  weightDevice?: Record<string, number>
  readBps?: Record<string, Size>
  writeBps?: Record<string, Size>
  readIops?: Record<string, number>
  writeIops?: Record<string, number>
}

/** A container's place on a network. */
export interface NetworkAttachment {
  /** Name or id of the network, or the network itself. */
  network: string | Network
  /** More names by which others on the network find it. */
  aliases?: string[]
  /** Its address there. Default: a free one. */
  ip?: string
  ip6?: string
  /** Hardware address. Default: one made of the address. */
  mac?: string
  /** The way to everything else goes by the network with the highest. Default 0. */
  priority?: number
}

/** What a container is to be like. Everything has Docker's default. */
export interface ContainerOptions {
  /** Replaces the image's entrypoint, and its command. A string is one word; `''` or `[]`: none. */
  entrypoint?: string | string[]
  /** Added to, or in place of, the image's. `undefined` removes a variable. Or a list of `NAME=value`. */
  env?: Record<string, string | undefined> | string[]
  /** `name`, `uid`, `name:group` or `uid:gid`. Default: the image's. */
  user?: string | number
  /** Absolute; made when missing. Default: the image's, else `/`. */
  workdir?: string
  /** Default: the first 12 digits of the container's id; the host's where its network or its `uts` is shared. */
  hostname?: string
  domainname?: string
  /** Told with every event of the container. */
  labels?: Record<string, string>
  annotations?: Record<string, string>
  /** Objects, or Docker's short strings: `'/host:/target:ro'`, `'volume:/target'`. */
  mounts?: (Mount | string)[]
  /**
   * Where what it writes outside of its mounts is kept. `tmpfs`, or `{ size }` with the most that it holds: in memory, where syncing costs
   * nothing, as a database for one test wants it; it counts as the container's memory, is gone when the program ends, and the volumes that
   * the image declares are part of it. Default `disk`.
   */
  storage?: 'disk' | 'tmpfs' | { size: Size }
  /**
   * `none`: a network namespace with loopback only (the default). `host`: the host's, and its name, `/etc/hosts` and `/etc/resolv.conf`.
   * Or the networks of {@link Engine.networks} it is on, by name or id; the way out is by the one with the highest priority.
   * Or `{ container }`, or `'container:name'`: that of another container, which has to run, with its name, `/etc/hosts`, `/etc/hostname` and
   * `/etc/resolv.conf`.
   */
  networks?: string | (string | NetworkAttachment)[] | SharedWith
  /** Published on the host: `'8080:80'`, `80` (a free port of the host's). Without `networks`, on the network `default`. */
  ports?: (PortSpec | string | number)[]
  /** At least 6 MiB; 0 is no limit, as for every limit here. */
  memory?: Size
  /** Memory and swap together; -1 is unlimited. Default: twice `memory`. */
  memorySwap?: Size
  memoryReservation?: Size
  /** Processors' worth of time: 0.5, 2. */
  cpus?: number
  /** Relative weight, 2 to 262144. */
  cpuShares?: number
  /** Processors to run on: `'0-1,3'`. */
  cpuset?: string
  /** Processes and threads; -1 is unlimited. Default 4096. */
  pids?: number
  /** 0 to 100: how readily anonymous memory is swapped. cgroup v1 only. */
  memorySwappiness?: number
  /** Limits of reading and writing block devices: `{ writeBps: { '/dev/sda': '10m' } }`. */
  blkio?: BlockIo
  /** Most huge pages by size, in bytes: `{ '2MB': '64m' }`. */
  hugetlb?: Record<string, Size>
  /**
   * By name without `RLIMIT_`: `{ nofile: 1024 }`. A hard limit above this process's own can be set by a process with CAP_SYS_RESOURCE
   * only; without, it is lowered to what can be had, and `onWarning` hears of it (`ulimit-clamped`).
   */
  ulimits?: Record<string, Ulimit>
  /** Namespaced kernel parameters: `net.*` (with a network of its own), `kernel.shm*`, `kernel.msg*`, `kernel.sem`, `fs.mqueue.*`. */
  sysctls?: Record<string, string>
  /** Size of /dev/shm. Default 64 MiB. */
  shmSize?: Size
  /** -1000 to 1000. Default 0; without CAP_SYS_RESOURCE, and rootless, that of this process. */
  oomScoreAdj?: number
  devices?: (Device | string)[]
  /** More device cgroup rules, for nodes that appear later: `'c 10:200 rwm'`. */
  deviceCgroupRules?: string[]
  capAdd?: string[]
  capDrop?: string[]
  /** Every capability and device, nothing masked, no seccomp or AppArmor profile. Default `false`. */
  privileged?: boolean
  /** The root file system cannot be written. Default `false`. */
  readonly?: boolean
  /** A Docker or OCI profile as an object, the path of one, or `unconfined`. Default: Docker's default behaviour. */
  seccomp?: string | object
  /** A loaded profile's name, or `unconfined`. Default: one like Docker's, where the kernel has AppArmor. */
  apparmor?: string
  /** No setuid program can raise privileges. Default `false`, as Docker's. */
  noNewPrivileges?: boolean
  /**
   * Which processes it sees: its own, the host's, or another container's (`{ container: 'db' }`, or `'container:db'`), which has to run; both
   * see each other's then. When that one ends, so does this one. Default `private`.
   */
  pid?: 'private' | 'host' | SharedWith | SharedWithText
  /**
   * Whose shared memory, semaphores and message queues it has, `/dev/shm` and `/dev/mqueue` among them. Any container's can be joined, so
   * Docker's `shareable` is the same as `private`. `none`: its own, without `/dev/shm`. Default `private`.
   */
  ipc?: 'private' | 'shareable' | 'none' | 'host' | SharedWith | SharedWithText
  /** Whose host name it has. Default `private`. */
  uts?: 'private' | 'host' | SharedWith | SharedWithText
  /**
   * Which users of the host its users are. `host`: the same (the default). `auto`: of a range of 65536 ids that no other container of this
   * root has, so that its root is nobody on the host; the range is of those that the user `keelson`, else `containers`, has in /etc/subuid
   * and /etc/subgid, else of 1879048192 to 2147352575. Or {@link UserMappings}. Its image and its own files keep the image's ids on the
   * disk; files of bind mounts have their ids of the host, unless the mount says `idmap`. For root, and Linux 5.19; with namespaces of its
   * own or the host's only.
   */
  userns?: 'host' | 'auto' | UserMappings
  /** Process 1 is a small init that reaps orphans and forwards signals. Default `false`. */
  init?: boolean
  /**
   * Lines of /etc/hosts: `{ 'db.test': '192.0.2.1' }` or `['db.test:192.0.2.1']`. The address `host-gateway` is the host's, as the
   * container reaches it; on a network, `host.keelson.internal` means the same.
   */
  extraHosts?: Record<string, string> | string[]
  /**
   * Name servers. Default: the host's. On a network, /etc/resolv.conf names 127.0.0.11, which knows the other containers and asks these
   * for all else, from the host: an address of loopback is the host's there.
   */
  dns?: string[]
  dnsSearch?: string[]
  dnsOptions?: string[]
}

/** {@link ContainerOptions}, and how the run is watched. */
export interface RunOptions extends ContainerOptions {
  /** What the program reads: text, bytes, or a stream; it then reads end of file. Default: nothing (`/dev/null`). `'pipe'`: write to the returned `stdin`. */
  stdin?: string | Uint8Array | Readable | { pipe: true }
  /** Kills the whole container when it has run so long, however long that is. */
  timeout?: Duration
  /** Kills the whole container when it fires; the run rejects with `KEELSON_ABORTED`. */
  signal?: AbortSignal
  /** Most bytes to collect of each stream; more kills the container: `KEELSON_MAX_OUTPUT`. Default 16 MiB. */
  maxOutput?: Size
  /** Collect output into the result. Without, read the streams. Default `true`. */
  collect?: boolean
  /** Reject unless the program ends with 0. Default `true`. */
  reject?: boolean
  /**
   * Take one newline off the end of the result's `stdout` and `stderr`, as execa does. Default `false`: what the program wrote, as
   * `child_process` gives it.
   */
  stripFinalNewline?: boolean
  /** For an image given by name: `linux/arm64`. */
  platform?: string
  /** For an image given by name. Default `missing`. */
  pull?: 'missing' | 'always' | 'never'
}
