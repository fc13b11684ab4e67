import type { HealthState } from '../../runtime/monitor-protocol.ts'
import { exitOf, type ContainerExit } from '../lifecycle/monitor-state.ts'
import { isActive } from '../lifecycle/state.ts'
import { readListening, type ListeningSocket } from './sockets.ts'
import type { WaitLine, WaitTarget } from './strategy.ts'

/** What there is to see of a container that is not ready. */
export interface Seen {
  /** The last lines of its log, oldest first. */
  logs: readonly WaitLine[]
  /** Where it does listen. */
  listening: ListeningSocket[]
  health?: HealthState['status']
  exit?: ContainerExit
}

const LINES = 10

/** Never fails: it is for an error that has happened already. */
export async function lookAround(target: WaitTarget): Promise<Seen> {
  const what = `looking at ${target.name}`
  const state = await target
    .until((found) => ({ found }), { what })
    .then(
      ({ found }) => found,
      () => undefined,
    )
  const [logs, listening] = await Promise.all([
    target.tail(LINES).catch(() => []),
    state !== undefined && state.pid > 0 ? readListening(state.pid).catch(() => []) : [],
  ])
  return {
    logs,
    listening,
    ...(state?.health !== undefined && { health: state.health.status }),
    ...(state !== undefined && !isActive(state.status) && { exit: exitOf(state) }),
  }
}
