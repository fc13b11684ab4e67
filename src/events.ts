import { keelsonError } from './errors.ts'
import type { ContainerEvents } from './container/events/events.ts'
import { CONTAINER_EVENTS, decodeJournalLine } from './container/events/journal-lines.ts'
import { refuseUnknown } from './container/normalize/call.ts'
import { JournalReader } from './store/journal-reader.ts'
import { parseDuration, type Duration } from './util/duration.ts'

/** What happens in the engines on one `runRoot`, by name. Listeners must not throw. */
export type EngineEvents = ContainerEvents

/** One of {@link EngineEvents}, with its name as `type` and when it happened as `time`. */
export type EngineEvent = {
  [Type in keyof EngineEvents]: { type: Type; time: Date } & EngineEvents[Type][0]
}[keyof EngineEvents]

/** Which events. All that are given must hold; of several values, one. */
export interface EventFilters {
  /** `'container.exit'`; or `'container'`: all of containers. */
  type?: string | string[]
  /** Id, the first digits of it, or name. */
  container?: string | string[]
  image?: string | string[]
  /** `key` or `key=value`; every one must be there. */
  label?: string | string[]
}

export interface EventsOptions {
  /** Also what happened since then, as far as it is kept (the last 7 MiB of it, at least): a date, or how long ago. Default: from now on. */
  since?: Date | Duration
  /** End then: a date. Default: never, or with `signal` and the engine. */
  until?: Date
  filters?: EventFilters
  /** Ends the iteration, without an error. */
  signal?: AbortSignal
}

/** @throws `KEELSON_INVALID_OPTION` */
export function readEvents(
  directory: string,
  options: EventsOptions,
  closing: AbortSignal,
): AsyncIterableIterator<EngineEvent> {
  refuseUnknown(options, ['since', 'until', 'filters', 'signal'], 'events()')
  const { filters = {}, until } = options
  if (until !== undefined && !(until instanceof Date)) throw invalid('until', 'is no date')
  checkFilters(filters)
  const since = startOf(options.since)
  const end = until === undefined ? undefined : until.getTime() - Date.now()
  if (end !== undefined && Number.isNaN(end)) throw invalid('until', 'is no date')
  const stop = new AbortController()
  const abort = () => stop.abort()
  const reader = new JournalReader(directory, {
    from: since === undefined ? 'now' : 'oldest',
    follow: end === undefined || end > 0,
    hold: true,
    signal: stop.signal,
  })
  const sources = [closing, ...(options.signal ? [options.signal] : [])]
  return (async function* () {
    for (const source of sources) {
      if (source.aborted) abort()
      source.addEventListener('abort', abort, { once: true })
    }
    const timer = end !== undefined && end > 0 ? setTimeout(abort, end) : undefined
    try {
      for await (const line of reader.lines()) {
        for (const event of decodeJournalLine(line).events) {
          if (since !== undefined && event.time < since) continue
          if (until !== undefined && event.time > until) continue
          if (matchesEvent(event, filters)) yield event
        }
      }
    } finally {
      clearTimeout(timer)
      for (const source of sources) source.removeEventListener('abort', abort)
    }
  })()
}

/** Whether an event is what the filters ask for. Pure. */
export function matchesEvent(event: EngineEvent, filters: EventFilters): boolean {
  const any = (wanted: string | string[] | undefined, matches: (value: string) => boolean) =>
    wanted === undefined || list(wanted).some(matches)
  return (
    any(filters.type, (type) => event.type === type || event.type.startsWith(`${type}.`)) &&
    any(
      filters.container,
      (name) => event.name === name || (name !== '' && event.container.startsWith(name)),
    ) &&
    any(filters.image, (image) => event.image === image || event.digest === image) &&
    list(filters.label).every((label) => {
      const at = label.indexOf('=')
      const name = at < 0 ? label : label.slice(0, at)
      return (
        Object.hasOwn(event.labels, name) && (at < 0 || event.labels[name] === label.slice(at + 1))
      )
    })
  )
}

const FILTERS = ['type', 'container', 'image', 'label']

function checkFilters(filters: EventFilters): void {
  for (const name of Object.keys(filters)) {
    if (!FILTERS.includes(name)) {
      throw invalid('filters', `has no ${JSON.stringify(name)}`, `Use ${FILTERS.join(', ')}.`)
    }
  }
  for (const type of list(filters.type)) {
    if (Object.hasOwn(CONTAINER_EVENTS, type) || type === 'container') continue
    const known = Object.keys(CONTAINER_EVENTS).join(', ')
    throw invalid('filters', `has no type ${JSON.stringify(type)}`, `The types are ${known}.`)
  }
}

function startOf(since: EventsOptions['since']): Date | undefined {
  if (since === undefined || since instanceof Date) return since
  return new Date(Date.now() - parseDuration(since, 'since'))
}

function list(value: string | string[] | undefined): string[] {
  if (value === undefined) return []
  return typeof value === 'string' ? [value] : value
}

function invalid(option: string, complaint: string, hint?: string) {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ${option} ${complaint}.`, {
    option,
    hint,
  })
}
