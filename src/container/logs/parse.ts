import type { LogEntry } from './entry.ts'

/** One line of a log file: a whole line of the program's, or a part of one. */
export interface Piece {
  stream: LogEntry['stream']
  timestamp: string
  /** `F`: its line ends here. `P`: without a newline. */
  mark: 'F' | 'P'
  content: Buffer
}

/** A part of this length goes on in the next one; a shorter one without a newline is the last of its stream. */
export const PIECE_LENGTH = 16 * 1024

const SPACE = 0x20
const LONGEST_TIMESTAMP = 40

/**
 * Reads a line of a log file without its newline: `<time> stdout|stderr F|P <bytes>`, the format of Kubernetes' CRI.
 * `undefined` for anything else, which is what a crash may leave.
 */
export function parseLine(line: Buffer): Piece | undefined {
  const timeEnd = line.subarray(0, LONGEST_TIMESTAMP).indexOf(SPACE)
  const streamEnd = line.indexOf(SPACE, timeEnd + 1)
  if (timeEnd <= 0 || line[streamEnd + 2] !== SPACE) return undefined
  const stream = line.toString('latin1', timeEnd + 1, streamEnd)
  const mark = line.toString('latin1', streamEnd + 1, streamEnd + 2)
  if (stream !== 'stdout' && stream !== 'stderr') return undefined
  if (mark !== 'F' && mark !== 'P') return undefined
  const timestamp = line.toString('latin1', 0, timeEnd)
  // A date alone would be one for JavaScript too.
  if (timestamp[10] !== 'T' || Number.isNaN(Date.parse(timestamp))) return undefined
  return { stream, timestamp, mark, content: line.subarray(streamEnd + 3) }
}

/** Whether a line of the program's ends with this piece. */
export function endsLine({ mark, content }: Pick<Piece, 'mark' | 'content'>): boolean {
  return mark === 'F' || content.length < PIECE_LENGTH
}
