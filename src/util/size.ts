import { keelsonError } from '../errors.ts'
import { show } from './printable.ts'

/** Bytes: a number, or text as Docker writes it: `512m`, `1.5g`, `64kb`, `1024`. Units are powers of 1024. */
export type Size = number | string

const UNITS: Record<string, number> = {
  '': 1,
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
  p: 1024 ** 5,
}
const TEXT = /^(\d+(?:\.\d+)?)\s*([bkmgtp]?)(?:i?b)?$/i

/**
 * Reads a size in bytes.
 *
 * @throws `KEELSON_INVALID_OPTION` naming `option`
 */
export function parseSize(size: Size, option: string): number {
  const bytes = typeof size === 'number' ? size : fromText(size)
  if (bytes !== undefined && Number.isSafeInteger(bytes) && bytes >= 0) return bytes
  throw keelsonError('KEELSON_INVALID_OPTION', `${option} is not a size: ${show(size)}.`, {
    option,
    hint: 'Give bytes as a whole number, or text like "512m" or "1.5g".',
  })
}

function fromText(text: string): number | undefined {
  const match = typeof text === 'string' ? TEXT.exec(text.trim()) : null
  if (match === null) return undefined
  return Math.floor(Number(match[1]) * (UNITS[(match[2] ?? '').toLowerCase()] ?? Number.NaN))
}
