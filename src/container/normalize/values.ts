/** Checks of single values, which name the option that a value was given for. */
import { keelsonError, KeelsonError } from '../../errors.ts'
import { parsePlatform } from '../../oci/platform.ts'
import { show } from '../../util/printable.ts'
import { parseSize, type Size } from '../../util/size.ts'

/** The kernel ends strings at NUL. */
export function text(option: string, value: unknown): string {
  if (typeof value !== 'string') throw invalid(option, `must hold strings, not ${typeof value}`)
  if (value.includes('\0')) throw invalid(option, 'holds a NUL character')
  return value
}

export function words(
  option: string,
  value: string | readonly string[] | undefined,
): string[] | undefined {
  if (value === undefined) return undefined
  const given = typeof value === 'string' ? [value] : value
  if (!Array.isArray(given)) throw invalid(option, 'must be a list of strings')
  return [...given].map((word) => text(option, word))
}

export function flag(option: string, value: unknown, otherwise: boolean): boolean {
  if (value === undefined) return otherwise
  if (typeof value === 'boolean') return value
  throw invalid(option, `must be true or false, not ${show(value)}`)
}

export function list<T>(option: string, value: readonly T[] | undefined): readonly T[] {
  if (value === undefined) return []
  // A hole becomes an undefined element, which is noticed.
  if (Array.isArray(value)) return [...(value as readonly T[])]
  throw invalid(option, `must be a list, not ${show(value)}`)
}

/** The entries of an object of values. */
export function entries<T>(
  option: string,
  value: Readonly<Record<string, T>> | undefined,
): [string, T][] {
  if (value === undefined) return []
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return Object.entries(value)
  }
  throw invalid(option, `must be an object of names and values, not ${show(value)}`)
}

export function textRecord(
  option: string,
  value: Record<string, string> | undefined,
): Record<string, string> | undefined {
  if (value === undefined) return undefined
  const pairs = entries(option, value)
  for (const [name, content] of pairs) {
    if (text(option, name) === '') throw invalid(option, 'has an entry without a name')
    text(option, content)
  }
  return Object.fromEntries(pairs)
}

export function optionalSize(option: string, size: Size | undefined): number | undefined {
  return size === undefined ? undefined : parseSize(size, option)
}

export function range(option: string, value: number | undefined, least: number, most: number) {
  if (value === undefined) return undefined
  if (typeof value === 'number' && value >= least && value <= most) return value
  throw invalid(option, `must be a number from ${least} to ${most}, not ${show(value)}`)
}

/** Of {@link CreateOptions} and {@link RunOptions}: before a registry is asked for it. */
export function refuseBadImageOptions({ platform, pull }: { platform?: unknown; pull?: unknown }) {
  if (platform !== undefined) {
    try {
      parsePlatform(text('platform', platform))
    } catch (cause) {
      if (!KeelsonError.is(cause) || cause.code !== 'KEELSON_INVALID_PLATFORM') throw cause
      throw invalid('platform', `is no platform: ${show(platform)}`, cause.hint, cause)
    }
  }
  oneOf('pull', pull as string | undefined, ['missing', 'always', 'never'])
}

/** The first of those accepted is the default. */
export function oneOf<T extends string>(
  option: string,
  value: T | undefined,
  accepted: readonly [T, ...T[]],
): T {
  if (value === undefined) return accepted[0]
  if (accepted.includes(value)) return value
  throw invalid(option, `cannot be ${show(value)}`, `Use ${accepted.join(' or ')}.`)
}

export function invalid(
  option: string,
  complaint: string,
  hint?: string,
  cause?: unknown,
): KeelsonError {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ${option} ${complaint}.`, {
    option,
    hint,
    cause,
  })
}
