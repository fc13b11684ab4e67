import { once } from 'node:events'
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { Registry } from '../../src/registry-server/index.ts'

/** An answer, whole. */
export interface Answered {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  /** The body as JSON. */
  json(): unknown
  /** The first error code of an error document. */
  code(): string | undefined
}

/** One request, exactly as given: nothing is followed, decoded or retried. */
export async function ask(
  registry: Registry,
  method: string,
  path: string,
  {
    headers = {},
    body,
  }: { headers?: Record<string, string | number>; body?: Uint8Array | string } = {},
): Promise<Answered> {
  const request = httpRequest(new URL(path, registry.url), { method, headers, agent: false })
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const bytes = await buffer(response)
  const json = () => JSON.parse(bytes.toString()) as unknown
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: bytes,
    json,
    code: () => (json() as { errors: { code: string }[] }).errors[0]?.code,
  }
}
