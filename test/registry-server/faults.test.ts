import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { describe, expect, test } from 'vitest'
import { Registry, type Fault, type RegistryRequest } from '../../src/registry-server/index.ts'
import { ask } from './ask.ts'

const CONTENT = Buffer.from('0123456789')

async function answered(fault: Fault) {
  await using registry = await Registry.listen({
    intercept: ({ kind }) => (kind === 'blob' ? fault : undefined),
  })
  const { digest } = await registry.addBlob('app', CONTENT)
  return await ask(registry, 'GET', `/v2/app/blobs/${digest}`)
}

const sent = async (fault: Fault) => {
  const { body, headers } = await answered(fault)
  expect(headers['content-length']).toBe(String(body.length))
  return body
}

describe('faults', () => {
  test.each([
    [401, 'UNAUTHORIZED'],
    [403, 'DENIED'],
    [404, 'MANIFEST_UNKNOWN'],
    [429, 'TOOMANYREQUESTS'],
    [500, 'UNKNOWN'],
  ])('status %i', async (status, code) => {
    const answer = await answered({ fault: 'status', status, retryAfter: 7 })
    expect([answer.status, answer.code()]).toEqual([status, code])
    expect(answer.headers['retry-after']).toBe('7')
  })

  test('redirect', async () => {
    const answer = await answered({ fault: 'redirect', location: 'http://elsewhere.invalid/x' })
    expect([answer.status, answer.headers['location']]).toEqual([307, 'http://elsewhere.invalid/x'])
  })

  test('corrupt, short, long and replace say a length that agrees with what they send', async () => {
    const corrupt = await sent({ fault: 'corrupt' })
    expect(corrupt).toHaveLength(10)
    expect(corrupt).not.toEqual(CONTENT)
    expect((await sent({ fault: 'short', bytes: 3 })).toString()).toBe('0123456')
    expect((await sent({ fault: 'long', bytes: 3 })).toString()).toBe('0123456789\0\0\0')
    expect((await sent({ fault: 'replace', body: 'other' })).toString()).toBe('other')
  })

  test('slow sends everything in the end', async () => {
    expect((await answered({ fault: 'slow', bytesPerSecond: 200 })).body).toEqual(CONTENT)
  })

  test.each([0, 4])('cut after %i bytes: the promised length, then the end', async (after) => {
    await using registry = await Registry.listen({ intercept: () => ({ fault: 'cut', after }) })
    const { digest } = await registry.addBlob('app', CONTENT)
    const request = httpRequest(`${registry.url}/v2/app/blobs/${digest}`).end()
    const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage]
    expect(response.headers['content-length']).toBe('10')
    const received: Buffer[] = []
    const read = (async () => {
      for await (const chunk of response as AsyncIterable<Buffer>) received.push(chunk)
    })()
    await expect(read).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(Buffer.concat(received).toString()).toBe('0123456789'.slice(0, after))
  })

  test('hang: closing the registry ends it', async () => {
    let heard: (() => void) | undefined
    const asked = new Promise<void>((resolve) => (heard = resolve))
    const registry = await Registry.listen({
      intercept: () => {
        heard?.()
        return { fault: 'hang' }
      },
    })
    const waiting = ask(registry, 'GET', '/v2/')
    await asked
    await Promise.all([registry.close(), expect(waiting).rejects.toThrow(/socket hang up/)])
  })

  test('an interceptor sees each request, counts repetitions, and its error is a 500', async () => {
    const seen: RegistryRequest[] = []
    await using registry = await Registry.listen({
      intercept: (request) => {
        seen.push(request)
        if (request.kind === 'catalog') throw new Error('mistake in the test')
        return undefined
      },
    })
    await ask(registry, 'GET', '/v2/team/app/manifests/1', { headers: { accept: 'a/b' } })
    await ask(registry, 'GET', '/v2/team/app/manifests/1?x=y')
    await ask(registry, 'GET', '/elsewhere')
    expect(seen).toMatchObject([
      { kind: 'manifest', method: 'GET', repository: 'team/app', tag: '1', previous: 0 },
      { kind: 'manifest', url: '/v2/team/app/manifests/1?x=y', previous: 1 },
      { kind: 'other', previous: 0 },
    ])
    expect(seen[0]?.headers['accept']).toBe('a/b')
    expect((await ask(registry, 'GET', '/v2/_catalog')).status).toBe(500)
  })

  test('a fault that cannot be sent is a 500, not the end of the process', async () => {
    const answer = await answered({ fault: 'redirect', location: 'http://x/\r\nset-cookie: a' })
    expect(answer.status).toBe(500)
    await using registry = await Registry.listen()
    await registry.addManifest('app', '1', { a: 1 }, 'no/type\n')
    expect((await ask(registry, 'GET', '/v2/app/manifests/1')).status).toBe(500)
  })
})
