/** What a monitor wrote down of its container, read when the monitor itself cannot be asked. */
import type { MonitorState } from '../../runtime/monitor-protocol.ts'
import { readRecord } from '../../store/records.ts'
import { signalName } from '../../util/signals.ts'
import { isActive } from './state.ts'

/** How a container's program ended. */
export interface ContainerExit {
  /** `null` when a signal ended it, and when it never ran. */
  exitCode: number | null
  /** Name of the signal that ended it: `SIGKILL`. */
  signal: string | null
  /** The kernel killed a process of the container because of its memory limit. */
  oomKilled: boolean
}

const STATUSES: readonly string[] = [
  'created',
  'running',
  'paused',
  'restarting',
  'stopping',
  'exited',
] satisfies MonitorState['status'][]

/** `undefined`: it was never started. */
export async function readState(path: string): Promise<MonitorState | undefined> {
  const bytes = await readRecord(path)
  return bytes === undefined ? undefined : decodeState(bytes.toString())
}

/** `undefined` for what no monitor wrote. */
export function decodeState(text: string): MonitorState | undefined {
  try {
    const state = JSON.parse(text) as Partial<MonitorState> | null
    if (typeof state !== 'object' || state === null) return undefined
    if (!STATUSES.includes(state.status ?? '')) return undefined
    return {
      ...(state as MonitorState),
      version: number(state.version, 0),
      monitor: number(state.monitor, 0),
      pid: number(state.pid, 0),
      exitCode: typeof state.exitCode === 'number' ? state.exitCode : null,
      signal: typeof state.signal === 'number' ? state.signal : null,
      oomKilled: state.oomKilled === true,
      restartCount: number(state.restartCount, 0),
      stopped: state.stopped === true,
    }
  } catch {
    return undefined
  }
}

/** Of a state; all `null` for one that has not ended. */
export function exitOf(state: MonitorState | undefined): ContainerExit {
  const runs = state !== undefined && isActive(state.status) && state.status !== 'restarting'
  if (state === undefined || runs) {
    return { exitCode: null, signal: null, oomKilled: state?.oomKilled ?? false }
  }
  return {
    exitCode: state.exitCode,
    signal: state.signal === null ? null : signalName(state.signal),
    oomKilled: state.oomKilled,
  }
}

/** The state of a container whose monitor was killed, after everything of it was killed too. */
export function crashedState(last: MonitorState, at: Date): MonitorState {
  return {
    ...last,
    version: last.version + 1,
    status: 'exited',
    monitor: 0,
    pid: 0,
    finishedAt: at.toISOString(),
    exitCode: null,
    signal: SIGKILL,
    error: { step: 'monitor', detail: 'the monitor ended before the container did' },
  }
}

const SIGKILL = 9

function number(value: unknown, otherwise: number): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : otherwise
}
