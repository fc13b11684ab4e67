import type { IncomingMessage } from 'node:http'
import { ApiError } from './api-error.ts'

/**
 * The body of a request. Leaving the loop early does not destroy the request, as the stream's own iterator would, and with it the
 * connection that the answer is to take.
 */
export function bodyOf(request: IncomingMessage): AsyncIterable<Buffer> {
  return request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
}

/** The whole body of a request that is a document. */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of bodyOf(request)) {
    size += chunk.length
    if (size > limit) {
      throw new ApiError(413, 'SIZE_INVALID', `the body is larger than ${limit} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** A page of a sorted list, and the `Link` to the next one ("Listing Tags" of the distribution specification). */
export function page(
  names: string[],
  path: string,
  query: URLSearchParams,
): { names: string[]; headers: Record<string, string> } {
  const last = query.get('last')
  const rest = last === null ? names : names.filter((name) => name > last)
  const requested = query.get('n')
  if (requested === null) return { names: rest, headers: {} }
  if (!/^\d{1,9}$/.test(requested)) {
    throw new ApiError(400, 'PAGINATION_NUMBER_INVALID', 'n must be a whole number', {
      n: requested,
    })
  }
  const shown = rest.slice(0, Number(requested))
  const end = shown.at(-1)
  if (end === undefined || shown.length === rest.length) return { names: shown, headers: {} }
  const next = new URLSearchParams({ n: requested, last: end })
  return { names: shown, headers: { link: `<${path}?${next.toString()}>; rel="next"` } }
}
