import { watch, type FSWatcher } from 'node:fs'
import { dirname } from 'node:path'
import { abortedError, throwIfAborted } from '../../util/abort.ts'
import { errnoOf, storageError } from '../../store/errno.ts'
import type { LogEntry } from './entry.ts'
import { closeFiles, inodeOf, openLogFiles, type LogFile } from './files.ts'
import { LineJoiner } from './join.ts'
import { LineReader } from './lines.ts'
import { normalizeLogs, type LogsOptions, type NormalizedLogs } from './options.ts'
import { parseLine } from './parse.ts'
import { findTail, isBefore, type LogPosition } from './tail.ts'

/** The log of one container. */
export interface LogSource {
  /** The file being written; the older ones are `<path>.1`, `<path>.2`, ... */
  path: string
  /** Resolves when nothing more will be written; asked for when following. */
  ended(signal: AbortSignal): Promise<unknown>
  /** What to say when the log is not there any more. */
  gone(): Error
  /** @throws that, when it is so */
  mustBeThere(): Promise<unknown>
}

const WHAT = 'reading the log'
const LONGEST_TIMER = 2 ** 31 - 1

/**
 * The lines of a container's log, oldest first, each whole, with the rotated files. As much as is there; with `follow`, until the
 * container has ended. One line at a time is held in memory, whatever the container writes.
 *
 * @throws `KEELSON_INVALID_OPTION` at once; while iterating `KEELSON_ABORTED`, `KEELSON_CONTAINER_NOT_FOUND`, `KEELSON_PERMISSION`,
 *   `KEELSON_IO`
 */
export function readLogs(source: LogSource, options: LogsOptions = {}): AsyncGenerator<LogEntry> {
  const normalized = normalizeLogs(options, Date.now())
  return iterate(source, normalized)
}

async function* iterate(source: LogSource, options: NormalizedLogs): AsyncGenerator<LogEntry> {
  throwIfAborted(options.signal, WHAT)
  await source.mustBeThere()
  const changes = options.follow ? new Changes(source, options) : undefined
  const files = await openLogFiles(source.path).catch((error: unknown) => {
    changes?.close()
    throw error
  })
  try {
    const joiner = new LineJoiner()
    for await (const entry of chosen(walk(source, files, joiner, changes, options), options)) {
      throwIfAborted(options.signal, WHAT)
      yield entry
    }
  } finally {
    changes?.close()
    await closeFiles(files)
  }
}

/** Those that were asked for, by stream and time. */
async function* chosen(
  entries: AsyncGenerator<LogEntry>,
  { streams, since, until }: NormalizedLogs,
): AsyncGenerator<LogEntry> {
  for await (const entry of entries) {
    const time = Date.parse(entry.timestamp)
    if (until !== undefined && time > until) return
    if (since !== undefined && time < since) continue
    if (streams.has(entry.stream)) yield entry
  }
}

/** Every entry from where the tail begins. `files` loses what has been read and closed. */
async function* walk(
  source: LogSource,
  files: LogFile[],
  joiner: LineJoiner,
  changes: Changes | undefined,
  { tail, since, until }: NormalizedLogs,
): AsyncGenerator<LogEntry> {
  const from = tail === undefined ? undefined : await findTail(files, tail, until)
  let passed = 0
  let reader: LineReader | undefined
  const entriesOf = async function* (end?: number): AsyncGenerator<LogEntry> {
    if (reader === undefined) return
    for await (const { bytes, offset } of reader.read(end)) {
      const piece = parseLine(bytes)
      const entry = piece === undefined ? undefined : joiner.push(piece)
      const place: LogPosition = { file: passed, offset }
      if (entry !== undefined && (from === undefined || !isBefore(place, from.count))) yield entry
    }
  }
  for (;;) {
    const [file] = files
    if (file === undefined) {
      if (changes === undefined) break
      const over = changes.over
      files.push(...(await openLogFiles(source.path)))
      if (files.length > 0) continue
      if (over) break
      await changes.next()
      continue
    }
    const isUnread =
      (from !== undefined && passed < from.read.file) ||
      (since !== undefined && file.modified < since && files.length > 1)
    if (!isUnread) {
      const offset = from !== undefined && passed === from.read.file ? from.read.offset : 0
      reader ??= new LineReader(file.handle, offset)
      const over = changes?.over
      // Only the last one can grow; without following, it ends where it ended when it was opened.
      yield* entriesOf(changes === undefined ? file.size : undefined)
      if (changes !== undefined && files.length === 1) {
        const newer = await openNewer(source.path, file)
        if (newer.length === 0) {
          if (over === true) break
          await changes.next()
          continue
        }
        // Written between the last look and its rotation.
        files.push(...newer)
        yield* entriesOf()
      }
    }
    files.shift()
    await file.handle.close()
    reader = undefined
    passed++
  }
  yield* joiner.rest()
}

/** The files that came after `file`: none while it still has its name. */
async function openNewer(path: string, file: LogFile): Promise<LogFile[]> {
  if ((await inodeOf(path)) === file.inode) return []
  const files = await openLogFiles(path)
  const at = files.findIndex(({ inode }) => inode === file.inode)
  await closeFiles(files.slice(0, at + 1))
  return files.slice(at + 1)
}

/** Wakes a follower: something happened in the log's directory, the container has ended, or the time is over. */
class Changes {
  /** Nothing more will be written: what is there now is all. */
  over = false
  readonly #stop = new AbortController()
  readonly #watcher: FSWatcher
  readonly #timer: NodeJS.Timeout | undefined
  readonly #signal: AbortSignal | undefined
  #failure: unknown
  #changed = false
  #wake: (() => void) | undefined
  readonly #abort: () => void

  constructor(source: LogSource, { signal, until }: NormalizedLogs) {
    const directory = dirname(source.path)
    try {
      this.#watcher = watch(directory, () => this.#tell())
    } catch (error) {
      throw errnoOf(error) === 'ENOENT'
        ? source.gone()
        : storageError(error, 'watch the log', directory)
    }
    this.#watcher.on('error', (error) =>
      this.#fail(storageError(error, 'watch the log', directory)),
    )
    this.#signal = signal
    this.#abort = () => this.#fail(signal && abortedError(signal, WHAT))
    signal?.addEventListener('abort', this.#abort, { once: true })
    const end = () => {
      this.over = true
      this.#tell()
    }
    source.ended(this.#stop.signal).then(end, (error: unknown) => this.#fail(error))
    const rest = until === undefined ? undefined : Math.max(0, until - Date.now()) + 1
    // What is further away than a timer reaches ends with the first line behind it.
    if (rest !== undefined && rest <= LONGEST_TIMER) this.#timer = setTimeout(end, rest)
  }

  /** Resolves at the next change, or at once when there was one since the last call. */
  async next(): Promise<void> {
    if (!this.#changed && this.#failure === undefined) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    this.#changed = false
    if (this.#failure !== undefined) throw this.#failure
  }

  close(): void {
    this.#stop.abort()
    this.#watcher.close()
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#abort)
    this.#tell()
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    this.#tell()
  }

  #tell(): void {
    this.#changed = true
    this.#wake?.()
    this.#wake = undefined
  }
}
