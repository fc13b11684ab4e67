import type { FileHandle } from 'node:fs/promises'

const BLOCK = 64 * 1024
const NEWLINE = 0x0a
/** What is longer is no line of a log; it is passed over. */
const LONGEST = 1024 * 1024

/** A line without its newline, and where it begins in its file. It is valid until the next one is asked for. */
export interface FileLine {
  bytes: Buffer
  offset: number
}

/** Reads a file that grows, line by line, as far as it goes. */
export class LineReader {
  readonly #handle: FileHandle
  #rest: Buffer = Buffer.alloc(0)
  /** Of `rest`. */
  #offset: number
  /** Within a line that is too long. */
  #skipping = false

  constructor(handle: FileHandle, offset = 0) {
    this.#handle = handle
    this.#offset = offset
  }

  /** The whole lines up to what is there now, or up to `end`. What is torn off is waited for: call it again. */
  async *read(end = Number.POSITIVE_INFINITY): AsyncGenerator<FileLine> {
    for (;;) {
      const position = this.#offset + this.#rest.length
      const length = Math.min(BLOCK, end - position)
      if (length <= 0) return
      const block = Buffer.allocUnsafe(length)
      const { bytesRead } = await this.#handle.read(block, 0, length, position)
      if (bytesRead === 0) return
      yield* this.#cut(block.subarray(0, bytesRead))
    }
  }

  *#cut(block: Buffer): Generator<FileLine> {
    let data = this.#rest.length === 0 ? block : Buffer.concat([this.#rest, block])
    for (let end = data.indexOf(NEWLINE); end !== -1; end = data.indexOf(NEWLINE)) {
      const line = { bytes: data.subarray(0, end), offset: this.#offset }
      data = data.subarray(end + 1)
      this.#offset += end + 1
      this.#rest = data
      if (!this.#skipping) yield line
      this.#skipping = false
    }
    this.#rest = data
    if (data.length > LONGEST) {
      this.#offset += data.length
      this.#rest = Buffer.alloc(0)
      this.#skipping = true
    }
  }
}

/** The whole lines before `end`, last first. */
export async function* readBackwards(handle: FileHandle, end: number): AsyncGenerator<FileLine> {
  let position = end
  // What follows the last newline is torn off, and no line.
  let rest: Buffer | undefined
  while (position > 0) {
    const length = Math.min(BLOCK, position)
    position -= length
    const block = Buffer.allocUnsafe(length)
    const { bytesRead } = await handle.read(block, 0, length, position)
    // A file does not shrink but by a hand from outside.
    if (bytesRead < length) return
    let data = rest === undefined ? block : Buffer.concat([block, rest])
    for (let at = data.lastIndexOf(NEWLINE); at !== -1; at = data.lastIndexOf(NEWLINE)) {
      const line = { bytes: data.subarray(at + 1), offset: position + at + 1 }
      data = data.subarray(0, at)
      if (rest !== undefined) yield line
      rest = data
    }
    if (rest !== undefined) rest = data.length > LONGEST ? Buffer.alloc(0) : data
  }
  if (rest !== undefined) yield { bytes: rest, offset: 0 }
}
