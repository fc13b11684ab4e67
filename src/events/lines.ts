import { containerEvents } from '../container/events/journal-lines.ts'
import { CONTAINER_EVENTS } from '../container/events/events.ts'
import { IMAGE_EVENTS } from '../image/events.ts'
import { NETWORK_EVENTS } from '../network/events.ts'
import { VOLUME_EVENTS } from '../volume/events.ts'
import type { EngineEvent, EngineEvents } from './event.ts'

/** Every name, each once. */
export const EVENT_TYPES: Record<keyof EngineEvents, true> = {
  ...CONTAINER_EVENTS,
  ...IMAGE_EVENTS,
  ...NETWORK_EVENTS,
  ...VOLUME_EVENTS,
}

/** What a line tells, nothing for one that is torn or of another version; `engine`: the one that wrote it and has told it itself. */
export interface JournalLine {
  events: EngineEvent[]
  engine?: string
}

/** Reads a line of the journal. Pure. */
export function decodeJournalLine(line: string): JournalLine {
  const value = objectIn(line)
  const time = new Date(String(value?.['time']))
  if (value === undefined || Number.isNaN(time.getTime())) return { events: [] }
  const { type, engine, ...facts } = value
  if (typeof type === 'string' && !Object.hasOwn(EVENT_TYPES, type)) return { events: [] }
  const events =
    typeof type !== 'string' || Object.hasOwn(CONTAINER_EVENTS, type)
      ? containerEvents(value, time)
      : [{ ...facts, type, time } as EngineEvent]
  return { events, ...(typeof engine === 'string' && { engine }) }
}

function objectIn(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
