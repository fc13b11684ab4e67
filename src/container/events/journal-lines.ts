/** Lines of the journal about containers -> events. A monitor writes states, from which follows what happened. Pure. */
import type { Digest } from '../../oci/digest.ts'
import type {
  ContainerStatus,
  MonitorJournalLine,
  MonitorState,
} from '../../runtime/monitor-protocol.ts'
import type { AboutContainer, ContainerEvents } from './events.ts'
import { decodeState, exitOf } from '../lifecycle/monitor-state.ts'

/** An event with its name and when it happened. */
export type ContainerEvent = {
  [Type in keyof ContainerEvents]: { type: Type; time: Date } & ContainerEvents[Type][0]
}[keyof ContainerEvents]

/** What a line of the journal tells of a container: what this package wrote, with its `type`, or what a monitor did. */
export function containerEvents(
  value: Readonly<Record<string, unknown>>,
  time: Date,
): ContainerEvent[] {
  const { type, container, engine: _, ...facts } = value
  if (typeof container !== 'string') return []
  if (typeof type !== 'string') {
    return fromMonitor(value, { time, ...about(value['about'], container) })
  }
  return [{ ...facts, ...about(facts, container), type, time } as ContainerEvent]
}

type Common = AboutContainer & { time: Date }

function fromMonitor(
  value: { [Field in keyof MonitorJournalLine]?: unknown },
  common: Common,
): ContainerEvent[] {
  if (value.removed === true) return [{ type: 'container.remove', ...common }]
  const state = decodeState(JSON.stringify(value.state ?? null))
  if (state === undefined) return []
  return stateEvents(decodeState(JSON.stringify(value.was ?? null)), state, common)
}

const HAS_PROGRAM: ReadonlySet<ContainerStatus> = new Set(['running', 'paused', 'stopping'])

/** What happened between two states of one container. */
export function stateEvents(
  was: MonitorState | undefined,
  now: MonitorState,
  common: Common,
): ContainerEvent[] {
  const events: ContainerEvent[] = []
  const ran = was !== undefined && HAS_PROGRAM.has(was.status)
  const runs = HAS_PROGRAM.has(now.status)
  // One start for another, with no state between them told.
  const again = ran && runs && was.startedAt !== now.startedAt
  if (now.oomKilled && was?.oomKilled !== true) events.push({ type: 'container.oom', ...common })
  if (ran && !runs) {
    events.push({
      type: 'container.exit',
      ...common,
      ...exitOf(now),
      restarting: now.status === 'restarting',
    })
  }
  if (runs && (!ran || again)) events.push({ type: 'container.start', ...common, pid: now.pid })
  if (ran && was.status !== 'paused' && now.status === 'paused') {
    events.push({ type: 'container.pause', ...common })
  }
  if (ran && was.status === 'paused' && now.status === 'running') {
    events.push({ type: 'container.unpause', ...common })
  }
  const health = now.health?.status
  if (runs && health !== undefined && health !== was?.health?.status && health !== 'starting') {
    events.push({ type: 'container.health', ...common, health })
  }
  return events
}

function about(value: unknown, container: string): AboutContainer {
  const facts = (typeof value === 'object' && value !== null ? value : {}) as Record<
    string,
    unknown
  >
  const { name, image, digest, labels } = facts
  return {
    container,
    ...(typeof name === 'string' && { name }),
    image: typeof image === 'string' ? image : '',
    digest: (typeof digest === 'string' ? digest : '') as Digest,
    labels: typeof labels === 'object' && labels !== null ? (labels as Record<string, string>) : {},
  }
}
