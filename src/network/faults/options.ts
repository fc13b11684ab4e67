/** What a person writes of a link's faults -> numbers. Pure. */
import { keelsonError, type KeelsonError } from '../../errors.ts'
import { parseDuration, type Duration } from '../../util/duration.ts'
import { show } from '../../util/printable.ts'

/** Bits a second: a number, or text as `500kbit`, `1mbit`, `1.5gbit`. */
export type Bandwidth = number | string

/** Which packets a link's faults are for: those from its first member to its second, the others, or all. */
export type LinkDirection = 'forward' | 'backward' | 'both'

/** Faults of a link between two members of a network. */
export interface LinkOptions {
  /** Default `both`. */
  direction?: LinkDirection
  /** Every packet arrives this much later. In both directions, a round trip takes twice as long. */
  latency?: Duration
  /** Each packet's latency differs from `latency` by up to this, by chance. The order of packets is kept. */
  jitter?: Duration
  /** The part of packets that does not arrive, by chance: 0 to 1, or text as `10%`. */
  loss?: number | string
  /** What passes, in each direction. Packets wait for it, for 200 ms at most or 64 KiB; then they are lost. */
  bandwidth?: Bandwidth
  /** Ends the TCP connections that there are, as if each side had sent a RST. */
  reset?: boolean
}

/** {@link LinkOptions} in one form. */
export interface NormalizedLink {
  direction: LinkDirection
  /** Milliseconds. */
  latency: number
  jitter: number
  loss: number
  /** Bits a second. */
  rate?: number
  reset: boolean
}

const NAMES = ['direction', 'latency', 'jitter', 'loss', 'bandwidth', 'reset']
const DIRECTIONS: readonly unknown[] = ['forward', 'backward', 'both']
/** An hour: more is a mistake in the unit. */
const MOST_LATENCY = 3_600_000
const UNITS: Record<string, number> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 }
const [LEAST_RATE, MOST_RATE] = [1000, 1e12]

/** @throws `KEELSON_INVALID_OPTION` */
export function normalizeLink(options: LinkOptions): NormalizedLink {
  if (typeof options !== 'object' || options === null) {
    throw invalid('link', 'must be an object')
  }
  const unknown = Object.keys(options).find((name) => !NAMES.includes(name))
  if (unknown !== undefined) throw invalid(unknown, 'is unknown', `Known are ${NAMES.join(', ')}.`)
  const { direction = 'both', latency = 0, jitter = 0, loss = 0, bandwidth, reset } = options
  if (!DIRECTIONS.includes(direction)) {
    throw invalid('direction', `is ${show(direction)}`, `Use ${DIRECTIONS.join(', ')}.`)
  }
  if (reset !== undefined && typeof reset !== 'boolean') {
    throw invalid('reset', 'must be true or false')
  }
  const link = {
    direction,
    latency: time(latency, 'latency'),
    jitter: time(jitter, 'jitter'),
    loss: share(loss),
    ...(bandwidth !== undefined && { rate: rate(bandwidth) }),
    reset: reset ?? false,
  }
  if (link.jitter > link.latency) {
    throw invalid('jitter', 'is more than the latency', 'No packet arrives before it was sent.')
  }
  return link
}

function time(given: Duration, option: string): number {
  const milliseconds = parseDuration(given, option)
  if (milliseconds > MOST_LATENCY) throw invalid(option, 'is more than an hour')
  return milliseconds
}

function share(given: number | string): number {
  const percent = typeof given === 'string' ? /^(\d+(?:\.\d+)?)%$/.exec(given)?.[1] : undefined
  const loss = percent === undefined ? given : Number(percent) / 100
  if (typeof loss === 'number' && loss >= 0 && loss <= 1) return loss
  throw invalid('loss', `is ${show(given)}`, 'Give a number from 0 to 1, or text like "10%".')
}

function rate(given: Bandwidth): number {
  const [, amount, unit] =
    typeof given === 'string' ? (/^(\d+(?:\.\d+)?)([kmg]?bit)$/.exec(given) ?? []) : []
  const bits = unit === undefined ? given : Number(amount) * (UNITS[unit] ?? Number.NaN)
  if (typeof bits === 'number' && bits >= LEAST_RATE && bits <= MOST_RATE) return bits
  throw invalid(
    'bandwidth',
    `is ${show(given)}`,
    'Give bits a second as a number, or text like "500kbit" or "1mbit"; 1kbit at least.',
  )
}

function invalid(option: string, complaint: string, hint?: string): KeelsonError {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ${option} ${complaint}.`, {
    option,
    hint,
  })
}
