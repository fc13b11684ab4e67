import { closeSync, fstatSync, openSync, readSync, watch } from 'node:fs'
import { join } from 'node:path'
import { keelsonError } from '../errors.ts'
import { deferred } from '../util/deferred.ts'
import { errnoOf } from './errno.ts'
import { segmentNumbers } from './journal.ts'

const CHUNK = 64 * 1024

export interface ReadOptions {
  /** `oldest`: every line that is there. `now`: those that are written from now on. */
  from: 'oldest' | 'now'
  /** Go on with what is written later, until `signal` fires; else end with what is there. */
  follow: boolean
  /** Waiting keeps the event loop alive. */
  hold: boolean
  signal?: AbortSignal | undefined
}

/** A segment that is being read. */
interface Segment {
  number: number
  descriptor: number
  offset: number
  /** Begin of a line whose end has not been read. */
  rest: Buffer
}

/**
 * Reads the lines of a journal in the order they were written. Where to begin is settled at once, not when the first line is asked for.
 *
 * Lines that are read late are still there for a while; when they are not any more, `KEELSON_EVENTS_LOST` says so.
 */
export class JournalReader {
  readonly #directory: string
  readonly #options: ReadOptions
  /** Oldest first. The newest but one may still get lines from who has not seen the newest. */
  readonly #segments: Segment[] = []
  #next: number

  constructor(directory: string, options: ReadOptions) {
    this.#directory = directory
    this.#options = options
    const numbers = segmentNumbers(directory)
    const { from } = options
    const first = from === 'now' ? numbers.at(-1) : numbers[0]
    this.#next = first ?? 1
    if (from === 'now' && first !== undefined) {
      const segment = this.#open(first)
      if (segment !== undefined) segment.offset = fstatSync(segment.descriptor).size
    }
  }

  async *lines(): AsyncGenerator<string, void, undefined> {
    const { signal, follow } = this.#options
    const changes = follow ? this.#watch() : undefined
    try {
      for (;;) {
        for (const line of this.#read()) {
          if (signal?.aborted) return
          yield line
        }
        if (changes === undefined || signal?.aborted) return
        await changes.next()
      }
    } finally {
      changes?.close()
      this.close()
    }
  }

  close(): void {
    for (const { descriptor } of this.#segments.splice(0)) closeSync(descriptor)
  }

  /** What is there now. */
  *#read(): Generator<string> {
    for (;;) {
      for (const segment of this.#segments) yield* readLines(segment)
      const found = segmentNumbers(this.#directory).find((number) => number >= this.#next)
      if (found === undefined) return
      if (found > this.#next && this.#segments.length > 0) throw this.#lost()
      if (this.#open(found) === undefined) throw this.#lost()
      // All writers have long moved on from those before the last two.
      while (this.#segments.length > 2) {
        const old = this.#segments.shift()
        if (old !== undefined) closeSync(old.descriptor)
      }
    }
  }

  #open(number: number): Segment | undefined {
    try {
      const descriptor = openSync(join(this.#directory, String(number)), 'r')
      const segment = { number, descriptor, offset: 0, rest: Buffer.alloc(0) }
      this.#segments.push(segment)
      this.#next = number + 1
      return segment
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined
      throw error
    }
  }

  #lost() {
    return keelsonError(
      'KEELSON_EVENTS_LOST',
      'Events were removed before they were read: the reader is too slow.',
      { hint: 'Read faster, or filter less important ones out while reading, and begin again.' },
    )
  }

  #watch() {
    const { signal, hold } = this.#options
    let turn = deferred<void>()
    const changed = () => turn.resolve()
    const watcher = watch(this.#directory, { persistent: hold }, changed)
    watcher.on('error', changed)
    signal?.addEventListener('abort', changed, { once: true })
    return {
      async next() {
        await turn.promise
        turn = deferred<void>()
      },
      close() {
        watcher.close()
        signal?.removeEventListener('abort', changed)
      },
    }
  }
}

function* readLines(segment: Segment): Generator<string> {
  const chunk = Buffer.allocUnsafe(CHUNK)
  for (;;) {
    const length = readSync(segment.descriptor, chunk, 0, CHUNK, segment.offset)
    if (length === 0) return
    segment.offset += length
    let start = 0
    for (;;) {
      const end = chunk.subarray(0, length).indexOf(0x0a, start)
      if (end < 0) break
      const line = Buffer.concat([segment.rest, chunk.subarray(start, end)])
      segment.rest = Buffer.alloc(0)
      start = end + 1
      yield line.toString()
    }
    segment.rest = Buffer.concat([segment.rest, chunk.subarray(start, length)])
  }
}
