import { keelsonError } from '../../errors.ts'
import type { ContainerStatus } from '../../runtime/monitor-protocol.ts'

/** What a caller may want of a container, as far as its state decides whether that can be. */
export type ContainerAction =
  | 'start'
  | 'stop'
  | 'kill'
  | 'restart'
  | 'pause'
  | 'unpause'
  | 'rename'
  | 'update'
  | 'remove'
  | 'remove by force'
  | 'attach'
  | 'exec'
  | 'connect'
  | 'change its networks'
  | 'read its processes'
  /** Whatever goes in every state but `dead`. */
  | 'use'

/**
 * For each state what may be asked for, and the state that it leads to. What is not here is refused.
 */
const TRANSITIONS: Record<ContainerStatus, Partial<Record<ContainerAction, ContainerStatus>>> = {
  created: {
    use: 'created',
    start: 'running',
    restart: 'running',
    rename: 'created',
    update: 'created',
    'change its networks': 'created',
    attach: 'created',
    remove: 'removing',
    'remove by force': 'removing',
  },
  running: {
    use: 'running',
    stop: 'stopping',
    kill: 'running',
    restart: 'running',
    pause: 'paused',
    rename: 'running',
    update: 'running',
    'change its networks': 'running',
    attach: 'running',
    exec: 'running',
    connect: 'running',
    'read its processes': 'running',
    'remove by force': 'removing',
  },
  paused: {
    use: 'paused',
    stop: 'stopping',
    kill: 'paused',
    restart: 'running',
    unpause: 'running',
    rename: 'paused',
    update: 'paused',
    'change its networks': 'paused',
    attach: 'paused',
    connect: 'paused',
    'read its processes': 'paused',
    'remove by force': 'removing',
  },
  restarting: {
    use: 'restarting',
    stop: 'exited',
    kill: 'exited',
    restart: 'running',
    rename: 'restarting',
    update: 'restarting',
    'change its networks': 'restarting',
    attach: 'restarting',
    connect: 'restarting',
    'remove by force': 'removing',
  },
  stopping: {
    use: 'stopping',
    stop: 'stopping',
    kill: 'stopping',
    restart: 'running',
    rename: 'stopping',
    update: 'stopping',
    attach: 'stopping',
    connect: 'stopping',
    'read its processes': 'stopping',
    'remove by force': 'removing',
  },
  exited: {
    use: 'exited',
    start: 'running',
    restart: 'running',
    rename: 'exited',
    update: 'exited',
    'change its networks': 'exited',
    attach: 'exited',
    remove: 'removing',
    'remove by force': 'removing',
  },
  dead: { remove: 'removing', 'remove by force': 'removing' },
  removing: {},
}

/** What is not done to a container, but in, to or of it. */
const PHRASES: Partial<Record<ContainerAction, string>> = {
  exec: 'execute in',
  attach: 'attach to',
  connect: 'connect to',
  'change its networks': 'change the networks of',
  'read its processes': 'read the processes of',
}

/** What to do first, by the state that stands in the way. */
const REMEDIES: Record<ContainerStatus, string> = {
  created: 'Start it first.',
  running: 'Stop it first, or remove it with { force: true }.',
  paused: 'Unpause it first.',
  restarting: 'Wait until it runs, or stop it.',
  stopping: 'Wait until it has ended.',
  exited: 'Start it first.',
  dead: 'Its removal has failed half way: remove({ force: true }) tries again.',
  removing: 'Create another.',
}

/** Whether a container in this state has processes, or a monitor that will start some. */
export function isActive(status: ContainerStatus): boolean {
  return (
    status === 'running' || status === 'paused' || status === 'restarting' || status === 'stopping'
  )
}

/** The state that an action leads to; `undefined` when it is not allowed. */
export function transition(
  status: ContainerStatus,
  action: ContainerAction,
): ContainerStatus | undefined {
  return TRANSITIONS[status][action]
}

/** @throws `KEELSON_CONTAINER_STATE` naming the state and what to do, when the action is not allowed */
export function mustAllow(
  container: { id: string; name: string },
  status: ContainerStatus,
  action: ContainerAction,
): void {
  if (transition(status, action) !== undefined) return
  throw keelsonError(
    'KEELSON_CONTAINER_STATE',
    `Cannot ${PHRASES[action] ?? action} the container ${container.name}: it is ${status}.`,
    {
      container: container.id,
      containerName: container.name,
      containerStatus: status,
      action,
      hint: action === 'start' && status === 'running' ? 'It runs already.' : REMEDIES[status],
    },
  )
}
