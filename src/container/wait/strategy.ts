import type { Duplex } from 'node:stream'
import type { MonitorState } from '../../runtime/monitor-protocol.ts'

/** A line of a container's log. */
export interface WaitLine {
  stream: 'stdout' | 'stderr'
  text: string
}

/** What can be found out about a container from outside, for waiting on it. @internal */
export interface WaitTarget {
  name: string
  /** It has a health check. */
  checksHealth: boolean
  /** The present state, and every later one, until `look` finds something; `undefined` for one that was never started. */
  until<T>(
    look: (state: MonitorState | undefined, removed: boolean) => T | undefined,
    options: { signal?: AbortSignal | undefined; what: string },
  ): Promise<T>
  /** Everything that it writes from its start on. Ends with the container, and when the signal fires. */
  logs(signal: AbortSignal): AsyncIterable<WaitLine>
  /** The last of what it wrote. */
  tail(lines: number): Promise<readonly WaitLine[]>
  /** Dials a port inside the container's network. */
  connect(port: number, signal: AbortSignal): Promise<Duplex>
}

/** What to wait for, made by {@link wait}. */
export interface WaitStrategy {
  /** In words: `port 5432 to listen`. */
  readonly description: string
  /** Milliseconds that this one may take, within the time that all of them have. */
  readonly timeout?: number
  /** Resolves when it is so. Rejects with {@link NotReady} when it cannot become so any more. @internal */
  wait(target: WaitTarget, signal: AbortSignal): Promise<void>
}

/** @internal */
export function isStrategy(value: unknown): value is WaitStrategy {
  return typeof (value as WaitStrategy | undefined)?.wait === 'function'
}

/** Why a strategy gave up; becomes a `KeelsonError` with what there is to see. @internal */
export class NotReady extends Error {
  readonly timedOut: boolean

  constructor(why: string, options: { timedOut?: boolean; cause?: unknown } = {}) {
    super(why, options.cause === undefined ? undefined : { cause: options.cause })
    this.timedOut = options.timedOut ?? false
  }
}
