import { keelsonError } from '../../errors.ts'
import { parseDuration } from '../../util/duration.ts'
import { refuseUnknown } from '../normalize/call.ts'

/** Which lines of a log, and whether to wait for more. */
export interface LogsOptions {
  /** Go on with what is written from now on, until the container has ended for good. Default `false`. */
  follow?: boolean
  /** Only so many of the last lines. Default: all. */
  tail?: number
  /** Not what was written before: a time, or how long ago (`'10m'`). */
  since?: Date | number | string
  /** Not what was written after; with `follow`, reading ends then. */
  until?: Date | number | string
  /** Default: both. */
  stdout?: boolean
  stderr?: boolean
  /** Ends the iteration with `KEELSON_ABORTED`. */
  signal?: AbortSignal
}

export interface NormalizedLogs {
  follow: boolean
  tail: number | undefined
  /** Milliseconds. */
  since: number | undefined
  until: number | undefined
  streams: ReadonlySet<'stdout' | 'stderr'>
  signal: AbortSignal | undefined
}

/** @throws `KEELSON_INVALID_OPTION` */
export function normalizeLogs(options: LogsOptions, now: number): NormalizedLogs {
  refuseUnknown(
    options,
    ['follow', 'tail', 'since', 'until', 'stdout', 'stderr', 'signal'],
    'logs()',
  )
  const { follow = false, tail, stdout = true, stderr = true, signal } = options
  if (tail !== undefined && (!Number.isSafeInteger(tail) || tail < 0)) {
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      `tail is not a number of lines: ${String(tail)}.`,
      {
        option: 'tail',
        hint: 'Give a whole number; leave it out for all lines.',
      },
    )
  }
  return {
    follow,
    tail,
    since: moment(options.since, 'since', now),
    until: moment(options.until, 'until', now),
    streams: new Set([
      ...(stdout ? (['stdout'] as const) : []),
      ...(stderr ? (['stderr'] as const) : []),
    ]),
    signal,
  }
}

/** A number is a time as `Date.now()` has it; text is a time or a duration before now, as Docker takes both. */
function moment(
  given: Date | number | string | undefined,
  option: string,
  now: number,
): number | undefined {
  if (given === undefined) return undefined
  if (typeof given === 'string' && /^[\d.]+(us|ms|s|m|h)/.test(given)) {
    return now - parseDuration(given, option)
  }
  const time = typeof given === 'number' ? given : new Date(given).getTime()
  if (Number.isFinite(time)) return time
  throw keelsonError('KEELSON_INVALID_OPTION', `${option} is not a time: ${String(given)}.`, {
    option,
    hint: 'Give a Date, milliseconds, "2026-01-31T12:00:00Z", or how long ago: "10m".',
  })
}
