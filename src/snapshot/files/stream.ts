import { constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { OfferedStream, Progress, RequestOptions } from '../../runtime/protocol.ts'
import { keelsonError } from '../../errors.ts'
import { deferred } from '../../util/deferred.ts'
import { throwIfAborted } from '../../util/abort.ts'

/** Starts a request of the helper that offers a stream. */
type Start<T> = (options: RequestOptions) => Promise<T>

/**
 * What a request offers to read, as a stream that ends, or fails, when the request has. Nothing is asked before somebody reads; a stream
 * that is destroyed cancels the request.
 *
 * @param convert makes of the request's failure what readers are to see
 */
export function offered(
  start: Start<unknown>,
  convert: (error: unknown) => unknown,
  signal?: AbortSignal,
): Readable {
  const control = new AbortController()
  const bytes = receive(start, control.signal, convert)
  const readable = Readable.from(bytes, { objectMode: false, highWaterMark: HIGH_WATER })
  const abort = () => readable.destroy(abortReason(signal))
  readable.once('close', () => {
    control.abort()
    signal?.removeEventListener('abort', abort)
  })
  if (signal?.aborted === true) abort()
  else signal?.addEventListener('abort', abort, { once: true })
  return readable
}

const HIGH_WATER = 256 * 1024

/** The same for a caller who takes all of it at once. */
export async function* receive(
  start: Start<unknown>,
  signal: AbortSignal | undefined,
  convert: (error: unknown) => unknown = (error) => error,
): AsyncGenerator<Uint8Array, void, undefined> {
  const control = new AbortController()
  const both = signal === undefined ? control.signal : AbortSignal.any([signal, control.signal])
  const pipe = deferred<Socket>()
  // Nobody may be waiting for it any more.
  pipe.promise.catch(() => undefined)
  const answer = start({ signal: both, onProgress: opening('read', pipe) })
  answer.catch(() => undefined)
  try {
    const socket = await Promise.race([pipe.promise, answer.then(() => undefined)])
    if (socket !== undefined) {
      for await (const chunk of socket) yield chunk as Uint8Array
    }
    // What ended early does not look like an end.
    await answer
  } catch (error) {
    throw convert(
      await answer.then(
        () => error,
        (failure: unknown) => failure,
      ),
    )
  } finally {
    control.abort()
    await answer.catch(() => undefined)
  }
}

/**
 * Sends bytes to a request that offers a stream to write to; its answer.
 *
 * @throws `KEELSON_ARCHIVE_INVALID` when there is not one byte; what the source throws, after the request was cancelled
 */
export async function send<T>(
  start: Start<T>,
  source: AsyncIterable<Uint8Array | string>,
  signal: AbortSignal | undefined,
): Promise<T> {
  const iterator = source[Symbol.asyncIterator]()
  const first = await firstOf(iterator)
  const control = new AbortController()
  const both = signal === undefined ? control.signal : AbortSignal.any([signal, control.signal])
  const pipe = deferred<Socket>()
  // Nobody may be waiting for it any more.
  pipe.promise.catch(() => undefined)
  const answer = start({ signal: both, onProgress: opening('write', pipe) })
  answer.catch(() => undefined)
  let sourceFailure: { reason: unknown } | undefined
  const chunks = rest(first, iterator, (reason) => (sourceFailure = { reason }))
  try {
    const socket = await Promise.race([pipe.promise, answer.then(() => undefined)])
    // A request that fails leaves its end of the pipe: its answer says why.
    if (socket !== undefined) await pipeline(chunks, socket)
    return await answer
  } catch (error) {
    if (sourceFailure !== undefined) throw sourceFailure.reason
    if (isBrokenPipe(error)) return await answer
    throw error
  } finally {
    control.abort()
    await chunks.return(undefined)
    await answer.catch(() => undefined)
  }
}

function opening(
  how: 'read' | 'write',
  pipe: { resolve: (socket: Socket) => void; reject: (reason: unknown) => void },
): (progress: Progress) => void {
  return ({ stream }) => {
    if (stream === undefined) return
    try {
      pipe.resolve(openPipe(stream, how))
    } catch (error) {
      // The worker is gone; its answer comes.
      pipe.reject(error)
    }
  }
}

function openPipe({ pid, fd }: OfferedStream, how: 'read' | 'write'): Socket {
  const flag = how === 'read' ? constants.O_RDONLY : constants.O_WRONLY
  const opened = openSync(`/proc/${pid}/fd/${fd}`, flag | constants.O_NONBLOCK)
  return new Socket({ fd: opened, readable: how === 'read', writable: how === 'write' })
}

async function firstOf(iterator: AsyncIterator<Uint8Array | string>): Promise<Uint8Array> {
  for (;;) {
    const next = await iterator.next()
    if (next.done === true) {
      throw keelsonError(
        'KEELSON_ARCHIVE_INVALID',
        'There is nothing to copy: the stream is empty.',
        {
          hint: 'A tar archive has 1,024 bytes at least.',
        },
      )
    }
    const bytes = Buffer.from(next.value)
    if (bytes.length > 0) return bytes
  }
}

async function* rest(
  first: Uint8Array,
  iterator: AsyncIterator<Uint8Array | string>,
  onFailure: (reason: unknown) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  let ended = false
  try {
    yield first
    for (;;) {
      const next = await iterator.next()
      if (next.done === true) break
      yield Buffer.from(next.value)
    }
    ended = true
  } catch (error) {
    ended = true
    onFailure(error)
    throw error
  } finally {
    if (!ended) await iterator.return?.()
  }
}

function isBrokenPipe(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return (
    code === 'EPIPE' ||
    code === 'ECONNRESET' ||
    code === 'ERR_STREAM_PREMATURE_CLOSE' ||
    code === 'ENOENT'
  )
}

function abortReason(signal: AbortSignal | undefined): Error {
  try {
    throwIfAborted(signal, 'The reading')
  } catch (error) {
    return error as Error
  }
  return new Error('aborted')
}
