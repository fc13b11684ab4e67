import { constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { PassThrough, Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { StdioEvent } from '../../runtime/protocol.ts'
import { show } from '../../util/printable.ts'
import { invalid } from '../normalize/values.ts'
import type { RunOptions } from '../options/options.ts'

/** This process's ends of a container's pipes. */
export interface Pipes {
  stdin?: Socket
  stdout: Socket
  stderr: Socket
}

/**
 * Opens the pipes that the launcher holds, anew through /proc: no relay stands between the container and this process. Only the opening
 * is synchronous; reading and writing are not.
 */
export function openPipes(event: StdioEvent): Pipes {
  const open = (fd: number | undefined, flag: number) => {
    const opened = openSync(`/proc/${event.pid}/fd/${fd}`, flag | constants.O_NONBLOCK)
    return new Socket({
      fd: opened,
      readable: flag === constants.O_RDONLY,
      writable: flag === constants.O_WRONLY,
    })
  }
  const stdout = open(event.stdout, constants.O_RDONLY)
  const stderr = open(event.stderr, constants.O_RDONLY)
  if (event.stdin === undefined) return { stdout, stderr }
  return { stdin: open(event.stdin, constants.O_WRONLY), stdout, stderr }
}

/** What is to be written to the program, and where a caller who wants to write by himself does so. */
export interface Input {
  source: Readable | undefined
  writable: Writable | null
}

/** @throws `KEELSON_INVALID_OPTION` */
export function standardInput(stdin: RunOptions['stdin']): RunOptions['stdin'] {
  if (stdin === undefined || typeof stdin === 'string' || stdin instanceof Uint8Array) return stdin
  if (stdin instanceof Readable || (stdin as { pipe?: unknown } | null)?.pipe === true) return stdin
  throw invalid('stdin', `must be text, bytes, a stream or { pipe: true }, not ${show(stdin)}`)
}

export function openInput(stdin: RunOptions['stdin']): Input {
  if (stdin === undefined) return { source: undefined, writable: null }
  if (typeof stdin === 'string' || stdin instanceof Uint8Array) {
    return { source: Readable.from([Buffer.from(stdin)]), writable: null }
  }
  if (stdin instanceof Readable) return { source: stdin, writable: null }
  const writable = new PassThrough()
  return { source: writable, writable }
}

/** Feeds the program, then lets it read end of file. A program that stops reading is no failure. */
export async function feed(source: Readable, stdin: Socket): Promise<void> {
  try {
    await pipeline(source, stdin)
  } catch (error) {
    if (!stdinClosed(error)) throw error
  }
}

function stdinClosed(error: unknown): boolean {
  const code = (error as { code?: string }).code
  return code === 'EPIPE' || code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE'
}
