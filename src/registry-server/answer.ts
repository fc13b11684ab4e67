import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ApiError } from './api-error.ts'

/** A complete HTTP answer as a value, so that a fault can be put over it before a byte is sent. */
export interface Answer {
  status: number
  headers: Record<string, string>
  body?: Body
}

/** Bytes of a known length that need not be in memory. */
export interface Body {
  size: number
  open(): Readable
  /** The connection is closed after what `open` gives, although `size` promises more. */
  cut?: boolean
}

/** An answer without a body. */
export function empty(status: number, headers: Record<string, string> = {}): Answer {
  return { status, headers: { ...headers } }
}

/** An answer of bytes. */
export function bytes(
  status: number,
  content: Uint8Array,
  contentType: string,
  headers: Record<string, string> = {},
): Answer {
  return {
    status,
    headers: { 'content-type': contentType, ...headers },
    body: { size: content.length, open: () => Readable.from([content], { objectMode: false }) },
  }
}

/** An answer that is a JSON document. */
export function json(
  status: number,
  document: unknown,
  headers: Record<string, string> = {},
  contentType = 'application/json',
): Answer {
  return bytes(status, Buffer.from(JSON.stringify(document)), contentType, headers)
}

/** The error document of "Error Codes" in the OCI distribution specification. */
export function failure(
  error: Pick<ApiError, 'status' | 'code' | 'message' | 'detail' | 'headers'>,
) {
  const { code, message, detail } = error
  return json(error.status, { errors: [{ code, message, detail }] }, error.headers)
}

/** Writes an answer. For HEAD only its headers; a client that goes away is not an error. */
export async function send(answer: Answer, response: ServerResponse, head: boolean): Promise<void> {
  const length = answer.body?.size ?? 0
  response.writeHead(answer.status, {
    'docker-distribution-api-version': 'registry/2.0',
    // 204 and 304 may not have one (RFC 9110, 8.6).
    ...(answer.status === 204 || answer.status === 304 ? {} : { 'content-length': length }),
    ...answer.headers,
  })
  if (head || answer.body === undefined) {
    response.end()
    return
  }
  if (answer.body.cut === true) response.flushHeaders()
  try {
    await pipeline(answer.body.open(), response, { end: answer.body.cut !== true })
    // What was written still goes out, then the connection ends.
    if (answer.body.cut === true) response.socket?.destroySoon()
  } catch {
    response.destroy()
  }
}
