/** Offsets of the first and the last byte, as in HTTP. */
export interface ByteRange {
  start: number
  end: number
}

/**
 * Reads a `Range` header for content of `size` bytes (RFC 9110, 14.1.2).
 *
 * @returns `undefined` where the whole is to be sent: no header, another unit, several ranges (which a server may ignore);
 *   `unsatisfiable` where 416 is due.
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(?<first>\d*)-(?<last>\d*)$/.exec(header?.trim() ?? '')
  const first = match?.groups?.['first'] ?? ''
  const last = match?.groups?.['last'] ?? ''
  if (first === '' && last === '') return undefined
  if (first === '') {
    const suffix = Number(last)
    if (suffix === 0 || size === 0) return 'unsatisfiable'
    return { start: Math.max(size - suffix, 0), end: size - 1 }
  }
  const start = Number(first)
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  // A range that ends before it begins is invalid, not unsatisfiable: it is to be ignored.
  if (last !== '' && Number(last) < start) return undefined
  return start >= size ? 'unsatisfiable' : { start, end }
}

/** Reads the `Content-Range` of a chunk as the distribution specification writes it: `<start>-<end>`, no unit. */
export function parseContentRange(header: string): ByteRange | undefined {
  const match = /^(?:bytes[ =])?(?<start>\d+)-(?<end>\d+)(?:\/.*)?$/.exec(header.trim())
  if (match?.groups === undefined) return undefined
  const range = { start: Number(match.groups['start']), end: Number(match.groups['end']) }
  return range.end < range.start ? undefined : range
}
