import { LogEntry } from './entry.ts'
import { endsLine, type Piece } from './parse.ts'

/** A longer line is handed out in several entries: nobody may make a reader keep more. */
export const LONGEST_LINE = 1024 * 1024

interface Unfinished {
  timestamp: string
  parts: Buffer[]
  length: number
}

/** Puts the parts of long lines together again, for each stream apart. */
export class LineJoiner {
  readonly #unfinished = new Map<LogEntry['stream'], Unfinished>()

  /** The entry that `piece` completes. Its bytes are the entry's own. */
  push(piece: Piece): LogEntry | undefined {
    const { stream, timestamp, mark, content } = piece
    const begun = this.#unfinished.get(stream)
    const ends = endsLine(piece)
    if (begun === undefined && ends) {
      return new LogEntry({ stream, timestamp, bytes: Buffer.from(content), partial: mark === 'P' })
    }
    const line = begun ?? { timestamp, parts: [], length: 0 }
    line.parts.push(Buffer.from(content))
    line.length += content.length
    this.#unfinished.set(stream, line)
    return ends || line.length >= LONGEST_LINE ? this.#finish(stream, mark === 'P') : undefined
  }

  /** What has begun and will not go on. */
  *rest(): Generator<LogEntry> {
    for (const stream of this.#unfinished.keys()) {
      const entry = this.#finish(stream, true)
      if (entry !== undefined) yield entry
    }
  }

  #finish(stream: LogEntry['stream'], partial: boolean): LogEntry | undefined {
    const line = this.#unfinished.get(stream)
    if (line === undefined) return undefined
    this.#unfinished.delete(stream)
    const bytes = Buffer.concat(line.parts, line.length)
    return new LogEntry({ stream, timestamp: line.timestamp, bytes, partial })
  }
}
