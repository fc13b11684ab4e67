import type { Readable } from 'node:stream'
import type { TerminalSize } from '../../runtime/monitor-protocol.ts'
import type { Duration } from '../../util/duration.ts'
import type { Size } from '../../util/size.ts'

/** As whom and where a program is executed in a running container. What is not given is as the container's own program has it. */
export interface ProcessOptions {
  /** Added to the container's. `undefined` removes a variable. Or a list of `NAME=value`. */
  env?: Record<string, string | undefined> | string[]
  /** `name`, `uid`, `name:group` or `uid:gid`. */
  user?: string | number
  /** Absolute; made when missing. */
  workdir?: string
  /** Every capability, no seccomp or AppArmor profile. Default `false`. */
  privileged?: boolean
}

/** Names of {@link ProcessOptions}. @internal */
export const PROCESS_OPTIONS: readonly string[] = ['env', 'user', 'workdir', 'privileged']

/** {@link ProcessOptions} of `exec()`, and how it is watched: as those of `engine.run()`. */
export interface ExecOptions extends ProcessOptions {
  /** Standard streams are a terminal; all output is then `stdout`. Default `false`. */
  tty?: boolean
  /** What the program reads: text, bytes, or a stream; it then reads end of file. Default: nothing. `{ pipe: true }`: write to the returned `stdin`. */
  stdin?: string | Uint8Array | Readable | { pipe: true }
  /** Kills it, and all that it has started, when it has run so long. */
  timeout?: Duration
  /** Kills it, and all that it has started; the call rejects with `KEELSON_ABORTED`. */
  signal?: AbortSignal
  /** Most bytes to collect of each stream; more kills it: `KEELSON_MAX_OUTPUT`. Default 16 MiB. */
  maxOutput?: Size
  /** Collect output into the result. Without, read the streams. Default `true`. */
  collect?: boolean
  /** Reject unless the program ends with 0. Default `true`. */
  reject?: boolean
}

/** {@link ProcessOptions} of `spawn()`. */
export interface SpawnOptions extends ProcessOptions {
  /** Standard streams are a terminal: `true`, or its size in characters. Default `false`. */
  tty?: boolean | TerminalSize
  /** `false`: it reads end of file at once. Default `true`: write to `stdin`, and `end()` it. */
  stdin?: boolean
  /** Kills it, and all that it has started. */
  signal?: AbortSignal
}
