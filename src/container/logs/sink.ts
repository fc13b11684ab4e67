import type { Readable } from 'node:stream'
import type { MonitorClient } from '../../runtime/monitor.ts'
import { LogEntry } from './entry.ts'
import { LONGEST_LINE } from './join.ts'

/**
 * Takes the lines of a container one after the other: the next comes when its promise has settled, and meanwhile the program waits with what
 * it writes.
 */
export type LogSink = (entry: LogEntry) => void | Promise<void>

/**
 * Attaches a sink to the output of a container that is about to be started, so that no byte is missed.
 *
 * @param onError hears of the first line that the sink failed at; the output is read to its end all the same, or the program would stand still
 * @returns what resolves when all has been handed over
 */
export async function attachSink(
  monitor: MonitorClient,
  sink: LogSink,
  { tty, onError }: { tty: boolean; onError: (error: unknown) => void },
): Promise<{ done: Promise<unknown> }> {
  const streams = tty ? (['terminal'] as const) : (['stdout', 'stderr'] as const)
  const sockets = await Promise.all(streams.map((stream) => monitor.attach({ stream })))
  let failed = false
  const hand = async (entry: LogEntry) => {
    try {
      if (!failed) await sink(entry)
    } catch (error) {
      failed = true
      onError(error)
    }
  }
  const feeding = sockets.map(async (socket, index) => {
    // Its end is the program's; reading it is no reason for this program to go on.
    socket.unref()
    for await (const entry of lines(socket, index === 0 ? 'stdout' : 'stderr')) await hand(entry)
  })
  return { done: Promise.allSettled(feeding) }
}

/** Lines as the log's reader has them. */
export async function* lines(
  source: Readable,
  stream: LogEntry['stream'],
): AsyncGenerator<LogEntry> {
  let begun: Buffer[] = []
  let length = 0
  let timestamp = ''
  const take = (partial: boolean) => {
    const entry = new LogEntry({ stream, timestamp, bytes: Buffer.concat(begun, length), partial })
    begun = []
    length = 0
    return entry
  }
  for await (const chunk of source as AsyncIterable<Buffer>) {
    for (let start = 0; start < chunk.length;) {
      if (length === 0) timestamp = new Date().toISOString()
      const limit = Math.min(chunk.length, start + LONGEST_LINE - length)
      const newline = chunk.subarray(start, limit).indexOf(0x0a)
      const end = newline < 0 ? limit : start + newline
      begun.push(chunk.subarray(start, end))
      length += end - start
      start = newline < 0 ? end : end + 1
      if (newline >= 0) yield take(false)
      else if (length === LONGEST_LINE) yield take(true)
    }
  }
  if (length > 0) yield take(true)
}
