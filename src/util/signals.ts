import { constants } from 'node:os'
import { keelsonError } from '../errors.ts'

const NUMBERS = new Map<string, number>(Object.entries(constants.signals))
const NAMES = new Map([...NUMBERS].map(([name, number]) => [number, name]))
/** As glibc and musl have them: the first two (three) are their own. */
const REALTIME_MIN = 34
const REALTIME_MAX = 64

/**
 * The number of a signal given as images and people write it: `SIGTERM`, `term`, `15`, 15, `SIGRTMIN+3`.
 *
 * @throws `KEELSON_INVALID_OPTION` naming `option`
 */
export function parseSignal(signal: string | number, option: string): number {
  const number = typeof signal === 'number' ? signal : fromText(signal)
  if (number !== undefined && Number.isInteger(number) && number > 0 && number <= REALTIME_MAX) {
    return number
  }
  throw keelsonError('KEELSON_INVALID_OPTION', `${option} is not a signal: ${String(signal)}.`, {
    option,
    hint: 'Write it as "SIGTERM", "TERM" or 15.',
  })
}

/** `SIGKILL` of 9, `SIGRTMIN+1` of 35. */
export function signalName(number: number): string {
  if (number >= REALTIME_MIN && number <= REALTIME_MAX) {
    return number === REALTIME_MIN ? 'SIGRTMIN' : `SIGRTMIN+${number - REALTIME_MIN}`
  }
  return NAMES.get(number) ?? `SIG${number}`
}

function fromText(text: string): number | undefined {
  if (typeof text !== 'string') return undefined
  if (/^(?:SIG)?\d+$/.test(text)) return Number(text.replace('SIG', ''))
  const name = text.toUpperCase().replace(/^(?:SIG)?/, 'SIG')
  const realtime = /^SIGRT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name)
  if (realtime === null) return NUMBERS.get(name)
  const [, end, sign, distance = '0'] = realtime
  const number =
    (end === 'MIN' ? REALTIME_MIN : REALTIME_MAX) + Number(distance) * (sign === '-' ? -1 : 1)
  return number >= REALTIME_MIN ? number : undefined
}
