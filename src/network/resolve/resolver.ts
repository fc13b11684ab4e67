/** Functions of this program that are asked for the names of a network. */
import { keelsonError } from '../../errors.ts'
import { parseDuration, type Duration } from '../../util/duration.ts'
import { show } from '../../util/printable.ts'

/** What a container wants to know. */
export interface NameQuestion {
  /** In lower case, without a dot at its end; bytes that no host's name has are written as `\DDD`. */
  name: string
  /** Of the record: `A`, `AAAA`, `PTR`, `TXT`, ...; one without a name is `TYPE` and its number. */
  type: string
  /** Id of the one that asks. */
  container: string
  /** Fires when nobody waits for the answer any more. */
  signal: AbortSignal
}

/**
 * Addresses for `A` and `AAAA` (of both families, if you like: those of the other are left out), names for `PTR`; no addresses, or of
 * another type: the name exists, and has no such record. `null`: there is no such name. `undefined`: as if nobody had been asked.
 */
export type NameAnswer = string | readonly string[] | null | undefined

export type NameFunction = (question: NameQuestion) => NameAnswer | Promise<NameAnswer>

export interface ResolveOptions {
  /** How long a question may take. Default 1 s; at most 4 s, as programs seldom wait for more than 5. */
  timeout?: Duration
  /**
   * What becomes of a question that the function does not answer: in time, because it throws or answers something else, or because this
   * program is gone. `pass`: as if nobody had been asked. `fail`: SERVFAIL, for as long as no other resolver takes its place; containers
   * that outlive this program find no names then. Default `pass`.
   */
  fallback?: 'pass' | 'fail'
}

/** A function that is asked for the names of a network, until it is closed. */
export interface NameResolver extends AsyncDisposable {
  /** From then on nobody asks it. A second call does nothing. */
  close(): Promise<void>
}

export interface NormalizedResolve {
  timeout: number
  fallback: 'pass' | 'fail'
}

const MAX_TIMEOUT_MS = 4000
const OPTIONS = new Set(['timeout', 'fallback'])

/** @throws `KEELSON_INVALID_OPTION` */
export function normalizeResolve(answer: unknown, options: ResolveOptions): NormalizedResolve {
  if (typeof answer !== 'function') {
    throw invalid('answer', `is no function: ${show(answer)}`)
  }
  const unknown = Object.keys(options).find((name) => !OPTIONS.has(name))
  if (unknown !== undefined) throw invalid(unknown, 'is not an option of resolve()')
  const { fallback = 'pass' } = options
  if (fallback !== 'pass' && fallback !== 'fail') {
    throw invalid('fallback', `cannot be ${show(fallback)}`, 'Use pass or fail.')
  }
  const timeout = parseDuration(options.timeout ?? 1000, 'timeout')
  if (timeout < 1 || timeout > MAX_TIMEOUT_MS) {
    throw invalid('timeout', `must be from 1 ms to 4 s, not ${show(options.timeout)}`)
  }
  return { timeout: Math.round(timeout), fallback }
}

const TYPES: Record<number, string> = {
  1: 'A',
  2: 'NS',
  5: 'CNAME',
  6: 'SOA',
  12: 'PTR',
  15: 'MX',
  16: 'TXT',
  28: 'AAAA',
  33: 'SRV',
  35: 'NAPTR',
  64: 'SVCB',
  65: 'HTTPS',
  255: 'ANY',
  257: 'CAA',
}

export function typeName(type: number): string {
  return TYPES[type] ?? `TYPE${type}`
}

function invalid(option: string, complaint: string, hint?: string) {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ${option} ${complaint}.`, {
    option,
    hint,
  })
}
