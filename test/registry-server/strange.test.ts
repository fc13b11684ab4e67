import * as fc from 'fast-check'
import { connect } from 'node:net'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Registry } from '../../src/registry-server/index.ts'
import { ask } from './ask.ts'

let registry: Registry

beforeAll(async () => {
  registry = await Registry.listen({
    token: { anonymous: 'pull' },
    auth: { username: 'u', password: 'p' },
  })
})
afterAll(() => registry.close())

/** Bytes on a connection of their own, and all that comes back. */
async function raw(text: string): Promise<string> {
  const socket = connect(Number(registry.host.split(':')[1]), '127.0.0.1')
  await once(socket, 'connect')
  socket.end(text, 'latin1')
  const answer = await buffer(socket).catch(() => Buffer.alloc(0))
  return answer.toString('latin1')
}

test('no request ends the process', async () => {
  const part = fc.constantFrom(
    'v2',
    'token',
    'blobs',
    'uploads',
    'manifests',
    'tags',
    'list',
    'a',
    '..',
    '',
    '%00',
    '%',
    'sha256:ab',
    '?n=-1',
    '?digest=x',
    '?mount=y&from=%ff',
  )
  const path = fc.array(part, { maxLength: 7 }).map((parts) => `/${parts.join('/')}`)
  const method = fc.constantFrom(
    'GET',
    'HEAD',
    'POST',
    'PUT',
    'PATCH',
    'DELETE',
    'OPTIONS',
    'TRACE',
  )
  const header = fc.constantFrom(
    '',
    'Range: bytes=-\r\n',
    'Content-Range: 5-1\r\n',
    'Authorization: Basic ===\r\n',
    'Authorization: Bearer\r\n',
    'Content-Length: 5\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Host: \r\n',
  )
  await fc.assert(
    fc.asyncProperty(
      method,
      path,
      header,
      fc.string({ maxLength: 20 }),
      async (verb, url, extra, body) => {
        const answer = await raw(
          `${verb} ${url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${extra}\r\n${body}`,
        )
        expect(answer).toMatch(/^(?:HTTP\/1\.1 [1-5]\d\d |$)/)
        expect(answer).not.toMatch(/^HTTP\/1\.1 500/)
      },
    ),
    { numRuns: 300 },
  )
  expect((await ask(registry, 'GET', '/v2/')).status).toBe(401)
})
