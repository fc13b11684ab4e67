/**
 * The typed form of the part of `docs/helper-protocol.md` that is about monitors. Frames, answers and errors are those of the launcher's
 * protocol (`./protocol.ts`); the connection is to the monitor's unix socket, and any number of programs may have one.
 */
import type { NetworkChange } from './network-protocol.ts'
import type { HelperFailure, StdioEvent } from './protocol.ts'

/** What a monitor carries out. Times are milliseconds. */
export interface MonitorPlan {
  container: string
  /** OCI runtime configuration with the `keelson` extension; its `bundle` and `remove` are removed by the monitor only as `onEnd` says. */
  config: object
  /** Where `state.json` goes, and whether it is synced to the disk. */
  state: { path: string; durable: boolean }
  /** Absent: output is read by attachers only; with none, it waits in the pipe. */
  log?: LogPlan
  restart: RestartPlan
  health?: HealthPlan
  stop: StopPlan
  /**
   * What is removed when the container has ended for good: `marker`, when nothing is left on the host of its last run, and with `atExit`
   * also these trees, which are always removed when the lifeline closes.
   */
  remove: { atExit: boolean; marker?: string; trees: string[] }
  /** Where the monitor tells every change of state to whoever reads the events of all containers; absent: nowhere. */
  journal?: JournalPlan
  /** Cgroup directories the monitor itself moves into, made when missing. */
  cgroups: string[]
}

export interface LogPlan {
  /** The file being written; older ones are `<path>.1` (newest) to `<path>.<maxFiles - 1>`. */
  path: string
  maxSize?: number
  maxFiles?: number
}

/** See "The journal" in `docs/helper-protocol.md`. */
export interface JournalPlan {
  /** It holds segments `1`, `2`, ...: the monitor appends to the one with the greatest number, and makes `1` when there is none. */
  directory: string
  /** Repeated in each line. */
  about: object
}

/** One line of the journal that a monitor wrote. */
export interface MonitorJournalLine {
  /** RFC 3339 with nanoseconds. */
  time: string
  container: string
  about: object
  /** The state before and after, without the log of health checks. `was` is absent the first time. */
  was?: MonitorState
  state?: MonitorState
  /** Instead of `state`: everything the plan's `remove` names is gone. */
  removed?: true
}

export interface RestartPlan {
  when: 'never' | 'failure' | 'always'
  /** Most restarts after failures in a row. */
  maxRetries?: number
  /** The first pause; each one after it is twice as long, up to `maxDelay`. */
  delay: number
  maxDelay: number
  /** A run this long makes the next pause the first again. */
  resetAfter: number
}

/** Docker's semantics; see "Health checks" in `docs/helper-protocol.md`. Times are milliseconds; `timeout` 0 is none. */
export interface HealthPlan {
  /** Process of the OCI runtime configuration. */
  process: object
  interval: number
  timeout: number
  retries: number
  startPeriod: number
  startInterval: number
  onUnhealthy: 'nothing' | 'kill' | 'restart' | 'stop'
}

export interface StopPlan {
  /** Number of the signal. */
  signal: number
  /** -1: for ever. */
  timeout: number
}

export type ContainerStatus =
  'created' | 'running' | 'paused' | 'restarting' | 'stopping' | 'exited' | 'dead' | 'removing'

/** `state.json`, and what `state` and `watch` tell. */
export interface MonitorState {
  /** Grows by one with every change. */
  version: number
  status: Exclude<ContainerStatus, 'dead' | 'removing'>
  /** The monitor's process. */
  monitor: number
  /** Process 1 of the container; 0 when none runs. */
  pid: number
  /** RFC 3339 with nanoseconds; absent when it has not happened. */
  startedAt?: string
  finishedAt?: string
  exitCode: number | null
  signal: number | null
  oomKilled: boolean
  /** Why it could not be started, the last time. */
  error?: HelperFailure
  restartCount: number
  /** It was asked to end, so no policy starts it again. */
  stopped: boolean
  health?: HealthState
  /** Lines that the log's file did not take, and why the first was not; absent: none. The container goes on. */
  log?: { lost: number; error: HelperFailure }
}

export interface HealthState {
  status: 'starting' | 'healthy' | 'unhealthy'
  failingStreak: number
  /** The last five, newest last. `output`: the first 4096 bytes, base64. */
  log: { start: string; end: string; exitCode: number; output: string }[]
}

export interface TerminalSize {
  columns: number
  rows: number
}

/** An `exec`: a process in the container's namespaces and in a cgroup of its own below the container's. */
export interface ExecPlan {
  /** Names it on this monitor. */
  exec: string
  /** Process of the OCI runtime configuration. */
  process: object
  stdio: { stdin: 'pipe' | 'null'; stdout: 'pipe' | 'null'; stderr: 'pipe' | 'null' }
  /** Ends with the connection that asked for it. */
  bound: boolean
  /** OCI `linux.seccomp`, or the container's own; absent: none. */
  seccomp?: object | 'container'
}

export interface MonitorOperations {
  /** Once per monitor. Answered when the program has been executed. */
  start: [MonitorPlan, { pid: number; warnings: string[] }]
  state: [object, MonitorState]
  /** From now on this connection hears `state` events; the answer is the present one. */
  watch: [object, MonitorState]
  /** To process 1. */
  signal: [{ signal: number }, object]
  /**
   * SIGKILL to every process; the container counts as stopped when `stop` is true. Answered when it has ended. With `stop`, a monitor
   * that was not asked to start ends.
   */
  kill: [{ stop: boolean }, MonitorState]
  /** The plan's signal, its time-out, then SIGKILL. No policy starts it again. Answered when it has ended. */
  stop: [Partial<StopPlan>, MonitorState]
  /** Stop, then start again, whatever the policy. Answered when it runs. */
  restart: [Partial<StopPlan>, { pid: number; warnings: string[] }]
  pause: [object, object]
  resume: [object, object]
  update: [
    {
      /** OCI `linux.resources`. */
      resources?: object
      restart?: RestartPlan
    },
    object,
  ]
  /** Answered when the container is on these networks. While it is being started, it waits for that. */
  network: [NetworkChange, object]
  resize: [TerminalSize & { exec?: string }, object]
  /** Answered when the program has been executed; the events `stdio` (container: the exec's id) and `exec-exit` come on this connection. */
  exec: [ExecPlan, { pid: number; warnings: string[] }]
  'exec-signal': [{ exec: string; signal?: number; all?: boolean }, object]
  /**
   * After the answer this connection carries raw bytes only. `stdin`: to the program, a connection shut down for writing closes it. `stdout`,
   * `stderr`: what the program writes from now on; attached before `start`, from its first byte. `terminal`: both ways.
   */
  attach: [{ stream: 'stdin' | 'stdout' | 'stderr' | 'terminal'; exec?: string }, object]
}

export type MonitorOperation = keyof MonitorOperations

export type MonitorEvent =
  | { event: 'state'; container: string; state: MonitorState }
  | StdioEvent
  | {
      event: 'exec-exit'
      container: string
      code: number | null
      signal: number | null
      oomKilled: boolean
    }
  /** The container has ended for good, and another monitor may come; without the plan's `remove.atExit`. */
  | { event: 'ended'; container: string; errors: HelperFailure[] }
  /** The same with it: everything that `remove` names is gone. */
  | { event: 'removed'; container: string; errors: HelperFailure[] }
