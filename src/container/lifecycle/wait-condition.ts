import { keelsonError } from '../../errors.ts'
import type { MonitorState } from '../../runtime/monitor-protocol.ts'
import { unlessAborted } from '../../util/abort.ts'
import type { ContainerCore } from '../core.ts'
import { exitOf, type ContainerExit } from './monitor-state.ts'
import { oneOf } from '../normalize/values.ts'
import { isActive } from './state.ts'

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
  oneOf('condition', condition, ['not-running', 'next-exit', 'removed', 'healthy'])
  let last = await core.state()
  const before = last?.finishedAt
  // One that removed itself has told how it ended: a short program must not be a race.
  const told = core.record.options.autoRemove && before !== undefined
  const isOver = condition === 'removed' || (condition === 'not-running' && told)
  if (!isOver || (await core.status()) === 'dead') await core.mustBeThere()
  if (condition === 'healthy') mustHaveCheck(core, last)
  const over: Record<
    WaitCondition,
    (state: MonitorState | undefined, removed: boolean) => boolean
  > = {
    removed: (_, removed) => removed,
    'not-running': (state, removed) => removed || state === undefined || !isActive(state.status),
    'next-exit': (state, removed) => {
      if (state?.finishedAt !== undefined && state.finishedAt !== before) return true
      if (removed) throw core.gone()
      return false
    },
    healthy: (state, removed) => {
      if (state?.health?.status === 'healthy') return true
      if (removed) throw core.gone()
      if (state !== undefined && !isActive(state.status)) throw ended(core, state)
      return false
    },
  }
  const exit = await core.until(
    (state, removed) => {
      last = state ?? last
      return over[condition](state, removed) ? exitOf(last) : undefined
    },
    { signal, what },
  )
  if (condition === 'not-running' || condition === 'removed') {
    await unlessAborted(core.sunk ?? Promise.resolve(), signal, what)
  }
  return exit
}

/** Its own health check, or its image's. */
export function hasHealthCheck({ record: { options, image } }: ContainerCore): boolean {
  const test = options.healthcheck?.test ?? image.parameters.Healthcheck?.Test
  return test !== undefined && test.length > 0 && test[0] !== 'NONE'
}

function mustHaveCheck(core: ContainerCore, state: MonitorState | undefined): void {
  if (state?.health !== undefined || hasHealthCheck(core)) return
  const { name } = core.record
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
    {
      container: id,
      containerStatus: state.status,
      ...exit,
      hint: 'Its logs say what it was doing.',
    },
  )
}
