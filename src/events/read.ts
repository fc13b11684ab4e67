import { refuseUnknown } from '../container/normalize/call.ts'
import { keelsonError } from '../errors.ts'
import { JournalReader } from '../store/journal-reader.ts'
import { parseDuration, type Duration } from '../util/duration.ts'
import type { EngineEvent } from './event.ts'
import { checkEventFilters, matchesEvent, type EventFilters } from './filters.ts'
import { decodeJournalLine } from './lines.ts'

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
  checkEventFilters(filters)
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

function startOf(since: EventsOptions['since']): Date | undefined {
  if (since === undefined || since instanceof Date) return since
  return new Date(Date.now() - parseDuration(since, 'since'))
}

function invalid(option: string, complaint: string, hint?: string) {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ${option} ${complaint}.`, {
    option,
    hint,
  })
}
