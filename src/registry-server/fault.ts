import { setTimeout as sleep } from 'node:timers/promises'
import { Readable } from 'node:stream'
import { bytes, empty, failure, type Answer, type Body } from './answer.ts'
import type { ApiErrorCode } from './api-error.ts'

/**
 * What goes wrong with one answer.
 *
 * - `status`: answered with this HTTP status and the specification's error document: 401, 403, 404, 429, 500, ...
 *   `retryAfter` (seconds, or an HTTP date) becomes the header `Retry-After`.
 * - `redirect`: sent elsewhere (307 unless `status` says otherwise); a relative `location` to the same path is a loop.
 * - `corrupt`: right length, wrong bytes: the first one is inverted.
 * - `short`, `long`: `bytes` fewer or more than there are, and a `Content-Length` that agrees with what is sent.
 * - `cut`: the true `Content-Length`, and the connection is reset after `after` bytes of the body.
 * - `slow`: the body at `bytesPerSecond`.
 * - `hang`: no answer at all, until the client gives up or the registry is closed.
 * - `replace`: other content under the same name.
 */
export type Fault =
  | {
      fault: 'status'
      status: number
      retryAfter?: number | string
      message?: string
      headers?: Record<string, string>
    }
  | { fault: 'redirect'; location: string; status?: 301 | 302 | 303 | 307 | 308 }
  | { fault: 'corrupt' }
  | { fault: 'short'; bytes: number }
  | { fault: 'long'; bytes: number }
  | { fault: 'cut'; after: number }
  | { fault: 'slow'; bytesPerSecond: number }
  | { fault: 'hang' }
  | {
      fault: 'replace'
      body: Uint8Array | string
      contentType?: string
      headers?: Record<string, string>
    }

const STATUS_CODES: Record<number, ApiErrorCode> = {
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  404: 'MANIFEST_UNKNOWN',
  429: 'TOOMANYREQUESTS',
}

/** An answer that replaces the true one, for the faults that need none; `hang` for silence. */
export function answerOfFault(fault: Fault): Answer | 'hang' | undefined {
  switch (fault.fault) {
    case 'status': {
      const headers = { ...fault.headers }
      if (fault.retryAfter !== undefined) headers['retry-after'] = String(fault.retryAfter)
      const code = STATUS_CODES[fault.status] ?? 'UNKNOWN'
      const message = fault.message ?? `answered ${fault.status} on request of the test`
      return failure({ status: fault.status, code, message, detail: null, headers })
    }
    case 'redirect':
      return empty(fault.status ?? 307, { location: fault.location })
    case 'replace': {
      const type = fault.contentType ?? 'application/octet-stream'
      return bytes(200, Buffer.from(fault.body), type, fault.headers)
    }
    case 'hang':
      return 'hang'
    case 'corrupt':
    case 'short':
    case 'long':
    case 'cut':
    case 'slow':
      return undefined
    default:
      return fault satisfies never
  }
}

/** The true answer with the fault put over its body. */
export function distort(answer: Answer, fault: Fault): Answer {
  const { body } = answer
  return body === undefined ? answer : { ...answer, body: distorted(body, fault) }
}

function distorted(body: Body, fault: Fault): Body {
  const { size } = body
  switch (fault.fault) {
    case 'corrupt':
      return { size, open: () => generated(invertFirst(body.open())) }
    case 'short': {
      const rest = Math.max(size - fault.bytes, 0)
      return { size: rest, open: () => generated(take(body.open(), rest)) }
    }
    case 'long':
      return { size: size + fault.bytes, open: () => generated(pad(body.open(), fault.bytes)) }
    case 'cut':
      return { size, cut: true, open: () => generated(take(body.open(), fault.after)) }
    case 'slow':
      return { size, open: () => generated(slow(body.open(), fault.bytesPerSecond)) }
    case 'status':
    case 'redirect':
    case 'replace':
    case 'hang':
      return body
    default:
      return fault satisfies never
  }
}

function generated(chunks: AsyncIterable<Uint8Array>): Readable {
  return Readable.from(chunks, { objectMode: false })
}

async function* invertFirst(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let first = true
  for await (const chunk of source) {
    const copy = Buffer.from(chunk)
    if (first && copy.length > 0) {
      copy[0] = (copy[0] ?? 0) ^ 0xff
      first = false
    }
    yield copy
  }
}

async function* take(source: AsyncIterable<Uint8Array>, limit: number): AsyncGenerator<Uint8Array> {
  let left = limit
  for await (const chunk of source) {
    if (left <= 0) return
    yield chunk.subarray(0, left)
    left -= chunk.length
  }
}

async function* pad(source: AsyncIterable<Uint8Array>, extra: number): AsyncGenerator<Uint8Array> {
  yield* source
  const zeros = Buffer.alloc(64 * 1024)
  for (let left = extra; left > 0; left -= zeros.length) yield zeros.subarray(0, left)
}

async function* slow(
  source: AsyncIterable<Uint8Array>,
  bytesPerSecond: number,
): AsyncGenerator<Uint8Array> {
  const piece = Math.max(Math.ceil(bytesPerSecond / 20), 1)
  for await (const chunk of source) {
    for (let start = 0; start < chunk.length; start += piece) {
      yield chunk.subarray(start, start + piece)
      await sleep((1000 * Math.min(piece, chunk.length - start)) / bytesPerSecond, undefined, {
        ref: false,
      })
    }
  }
}
