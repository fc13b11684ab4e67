/**
 * Text that somebody else chose, made fit for one line of an error message: control characters (terminal escapes, line breaks,
 * bidirectional overrides) become spaces, and what is longer than `limit` characters is cut.
 * @internal
 */
export function printable(text: string, limit = 200): string {
  // The slice first: the replacement then never runs over megabytes.
  const clean = text
    .slice(0, limit * 4)
    .replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/ {2,}/g, ' ')
    .trim()
  return clean.length > limit || text.length > limit * 4 ? `${clean.slice(0, limit)}...` : clean
}

/**
 * A value of any type in an error message: short, and on one line.
 * @internal
 */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(printable(value, 60))
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}
