/**
 * What happens to the objects of an engine, in files that all programs on one `runRoot` share (`docs/helper-protocol.md`, _The journal_):
 * numbered segments of JSON lines, each line one write with `O_APPEND`, so that no writer needs to know of another.
 */
import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, storageError } from './errno.ts'

const SEGMENT_BYTES = 1024 * 1024
/** Segments kept, the one being written among them. */
const SEGMENTS = 8

/** A line as this process writes it. */
export interface JournalEvent {
  /** RFC 3339. */
  time: string
  type: string
  [field: string]: unknown
}

export class Journal implements AsyncDisposable {
  readonly directory: string
  readonly #segmentBytes: number
  /** The segment that is open. */
  #open: { number: number; descriptor: number } | undefined
  #lines: string[] = []
  #closed = false
  /** The last write went wrong: half of a line may be there. */
  #torn = false
  readonly #onLost: (error: unknown) => void

  /** @param options `onLost` hears of what could not be written; `segmentBytes`, for tests: when the next segment begins */
  constructor(
    directory: string,
    options: { segmentBytes?: number; onLost?: (error: unknown) => void } = {},
  ) {
    this.directory = directory
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES
    this.#onLost = options.onLost ?? (() => {})
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  }

  /** Tells an event, in the order of the calls; written with all of this turn of the event loop, off the caller's path. */
  append(event: JournalEvent): void {
    if (this.#closed) return
    if (this.#lines.length === 0) setImmediate(() => this.flush())
    this.#lines.push(`${JSON.stringify(event)}\n`)
  }

  /** Writes what waits. */
  flush(): void {
    const lines = this.#lines
    this.#lines = []
    if (lines.length === 0 || this.#closed) return
    const bytes = Buffer.from((this.#torn ? '\n' : '') + lines.join(''))
    this.#torn = false
    try {
      const segment = this.#segment()
      // tmpfs takes a write whole, so lines of one write are as whole as a single one; unless it is full.
      for (let written = 0; written < bytes.length;) {
        written += writeSync(segment, bytes, written)
      }
    } catch (error) {
      this.#torn = true
      this.#onLost(storageError(error, 'write events to', this.directory))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.flush()
    this.#closed = true
    if (this.#open !== undefined) closeSync(this.#open.descriptor)
    this.#open = undefined
  }

  /** Descriptor of a segment that has room. */
  #segment(): number {
    const now = this.#open
    if (now !== undefined) {
      const { size, nlink } = fstatSync(now.descriptor)
      if (nlink > 0 && size < this.#segmentBytes) return now.descriptor
      closeSync(now.descriptor)
      this.#open = undefined
    }
    const newest = segmentNumbers(this.directory).at(-1) ?? 1
    for (let number = newest; ; number++) {
      const descriptor = openSync(join(this.directory, String(number)), 'a', 0o600)
      if (fstatSync(descriptor).size < this.#segmentBytes) {
        this.#open = { number, descriptor }
        if (number !== newest) this.#removeOld(number)
        return descriptor
      }
      closeSync(descriptor)
    }
  }

  #removeOld(newest: number): void {
    for (const number of segmentNumbers(this.directory)) {
      if (number <= newest - SEGMENTS) rmSync(join(this.directory, String(number)), { force: true })
    }
  }
}

/** Of the segments in a directory, oldest first. */
export function segmentNumbers(directory: string): number[] {
  try {
    return readdirSync(directory)
      .filter((name) => /^[1-9]\d{0,14}$/.test(name))
      .map(Number)
      .sort((a, b) => a - b)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}
