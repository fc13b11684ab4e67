import { keelsonError } from '../errors.ts'
import type { MonitorState } from '../runtime/monitor-protocol.ts'
import { signalName } from '../util/signals.ts'
import type { ContainerCore } from './core.ts'
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

/**
 * What to wait for. `not-running`: until it has no program; at once when it has none. `next-exit`: until its program, this or the next, has
 * ended, although a restart follows. `removed`: until it is no more. `healthy`: until its health check says so.
 */
export type WaitCondition = 'not-running' | 'next-exit' | 'removed' | 'healthy'

export async function waitFor(
  core: ContainerCore,
  condition: WaitCondition,
  signal: AbortSignal | undefined,
): Promise<ContainerExit> {
  const what = `Waiting for ${core.record.name}`
  let last = await core.state()
  const before = last?.finishedAt
  if (condition === 'healthy') mustHaveCheck(core, last)
  return await core.until(
    (state, removed) => {
      last = state ?? last
      switch (condition) {
        case 'removed':
          return removed ? exitOf(last) : undefined
        case 'not-running':
          return removed || state === undefined || !isActive(state.status)
            ? exitOf(last)
            : undefined
        case 'next-exit':
          if (state?.finishedAt !== undefined && state.finishedAt !== before) return exitOf(state)
          if (removed) throw core.gone()
          return undefined
        default:
          if (state?.health?.status === 'healthy') return exitOf(state)
          if (removed) throw core.gone()
          if (state !== undefined && !isActive(state.status)) throw ended(core, state)
          return undefined
      }
    },
    { signal, what },
  )
}

/** Of a state; all `null` for one that has not ended. */
export function exitOf(state: MonitorState | undefined): ContainerExit {
  if (state === undefined || isActive(state.status)) {
    return { exitCode: null, signal: null, oomKilled: state?.oomKilled ?? false }
  }
  return {
    exitCode: state.exitCode,
    signal: state.signal === null ? null : signalName(state.signal),
    oomKilled: state.oomKilled,
  }
}

function mustHaveCheck(core: ContainerCore, state: MonitorState | undefined): void {
  if (state?.health !== undefined) return
  const { name, options, image } = core.record
  const test = options.healthcheck?.test ?? image.parameters.Healthcheck?.Test
  if (test !== undefined && test.length > 0 && test[0] !== 'NONE') return
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    `The container ${name} has no health check to wait for.`,
    { option: 'condition', hint: 'Create it with { healthcheck: { test: ... } }.' },
  )
}

function ended(core: ContainerCore, state: MonitorState) {
  const { name, id } = core.record
  const exit = exitOf(state)
  const how = exit.signal ?? `exit code ${exit.exitCode}`
  return keelsonError(
    'KEELSON_CONTAINER_STATE',
    `The container ${name} ended (${how}) before it was healthy.`,
    { container: id, status: state.status, ...exit, hint: 'Its logs say what it was doing.' },
  )
}
