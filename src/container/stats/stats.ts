/**
 * What a container uses, at one moment. Bytes and nanoseconds; counters begin at 0 with the container's cgroup and only grow.
 * A part is absent where no controller counts it for this container: an ordinary user without delegation, or a hierarchy of cgroup v1
 * in which the container has no cgroup.
 */
export interface Stats {
  time: Date
  cpu?: CpuStats
  memory?: MemoryStats
  io?: IoStats
  pids?: PidsStats
  /** By the interface's name in the container, without loopback. Empty with the host's network or none. */
  networks: Record<string, NetworkStats>
}

export interface CpuStats {
  usageNs: number
  userNs: number
  systemNs: number
  /** How long its processes had to wait because the limit was used up. */
  throttledNs: number
  throttledPeriods: number
  /** Of one processor, since the sample before: 200 is two whole ones. Absent in the first sample, which has none before it. */
  percent?: number
}

export interface MemoryStats {
  /** Without the part of the page cache that the kernel would drop first, which is how Docker counts. */
  usage: number
  /** Absent: none but the machine's. */
  limit?: number
  /** Page cache, all of it. */
  cache: number
  /** What is not backed by files. */
  rss: number
  /** 0 where the kernel does not count it. */
  swap: number
  /** The most there ever was, cache included. Absent where the kernel does not keep it (cgroup v2 before Linux 5.19). */
  peak?: number
}

export interface IoStats {
  readBytes: number
  writeBytes: number
  readOps: number
  writeOps: number
}

export interface PidsStats {
  /** Processes and threads. */
  current: number
  /** Absent: none. */
  limit?: number
}

export interface NetworkStats {
  rxBytes: number
  rxPackets: number
  rxErrors: number
  rxDropped: number
  txBytes: number
  txPackets: number
  txErrors: number
  txDropped: number
}
