import type { LogEntry } from './entry.ts'
import type { LogFile } from './files.ts'
import { LONGEST_LINE } from './join.ts'
import { readBackwards } from './lines.ts'
import { endsLine, parseLine } from './parse.ts'

/** A place in the files of a log. */
export interface LogPosition {
  file: number
  offset: number
}

/** Where to begin reading, and from where on entries count: before that are only parts of those that end behind it. */
export interface TailStart {
  read: LogPosition
  count: LogPosition
}

export function isBefore(a: LogPosition, b: LogPosition): boolean {
  return a.file === b.file ? a.offset < b.offset : a.file < b.file
}

/**
 * Finds the last `lines` entries of the log, from its end, without reading the rest of it. `until`: entries that end later are not
 * among them.
 *
 * @param files oldest first
 */
export async function findTail(
  files: readonly LogFile[],
  lines: number,
  until: number | undefined,
): Promise<TailStart> {
  const last = files.length - 1
  const end = { file: Math.max(last, 0), offset: files[last]?.size ?? 0 }
  if (lines === 0) return { read: end, count: end }
  let found = 0
  let count: LogPosition | undefined
  let read: LogPosition = end
  // Streams of which an entry that counts may have begun earlier.
  const open = new Set<LogEntry['stream']>()
  let lookedBack = 0
  for (let file = last; file >= 0; file--) {
    const { handle, size } = files[file] as LogFile
    for await (const { bytes, offset } of readBackwards(handle, size)) {
      const piece = parseLine(bytes)
      if (piece === undefined) continue
      const ends = endsLine(piece)
      if (count !== undefined) {
        if (ends) open.delete(piece.stream)
        lookedBack += bytes.length
        if (open.size === 0 || lookedBack > LONGEST_LINE) return { read, count }
        if (open.has(piece.stream)) read = { file, offset }
        continue
      }
      read = { file, offset }
      if (!ends || (until !== undefined && Date.parse(piece.timestamp) > until)) continue
      open.add(piece.stream)
      found++
      if (found === lines) count = read
    }
  }
  return { read, count: count ?? { file: 0, offset: 0 } }
}
