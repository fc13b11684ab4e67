import { keelsonError } from '../errors.ts'
import { show } from './printable.ts'

/** Milliseconds: a number, or text as Docker and Go write it: `1.5s`, `300ms`, `1m30s`, `2h`. */
export type Duration = number | string

const UNITS: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const TEXT = /^(?:\d+(?:\.\d+)?(?:us|ms|s|m|h))+$/
const PART = /(\d+(?:\.\d+)?)(us|ms|s|m|h)/g

/**
 * Reads a duration in milliseconds.
 *
 * @throws `KEELSON_INVALID_OPTION` naming `option`
 */
export function parseDuration(duration: Duration, option: string): number {
  const milliseconds = typeof duration === 'number' ? duration : fromText(duration)
  if (milliseconds !== undefined && Number.isFinite(milliseconds) && milliseconds >= 0) {
    return milliseconds
  }
  throw keelsonError('KEELSON_INVALID_OPTION', `${option} is not a duration: ${show(duration)}.`, {
    option,
    hint: 'Give milliseconds as a number, or text like "1.5s" or "1m30s".',
  })
}

function fromText(text: string): number | undefined {
  if (typeof text !== 'string' || !TEXT.test(text)) return undefined
  return [...text.matchAll(PART)].reduce(
    (sum, [, amount, unit]) => sum + Number(amount) * (UNITS[unit ?? ''] ?? Number.NaN),
    0,
  )
}
