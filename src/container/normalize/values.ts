/** Checks of single values, which name the option that a value was given for. */
import { keelsonError, type KeelsonError } from '../../errors.ts'
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
  const list = typeof value === 'string' ? [value] : value
  if (!Array.isArray(list)) throw invalid(option, 'must be a list of strings')
  return list.map((word) => text(option, word))
}

export function optionalSize(option: string, size: Size | undefined): number | undefined {
  return size === undefined ? undefined : parseSize(size, option)
}

export function range(option: string, value: number | undefined, least: number, most: number) {
  if (value === undefined) return undefined
  if (typeof value === 'number' && value >= least && value <= most) return value
  throw invalid(option, `must be a number from ${least} to ${most}, not ${String(value)}`)
}

export function oneOf<T extends string>(option: string, value: T, accepted: readonly T[]): T {
  if (accepted.includes(value)) return value
  throw invalid(option, `cannot be ${JSON.stringify(value)}`, `Use ${accepted.join(' or ')}.`)
}

export function invalid(option: string, complaint: string, hint?: string): KeelsonError {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ${option} ${complaint}.`, {
    option,
    hint,
  })
}
