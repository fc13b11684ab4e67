import { getEventListeners, once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test, vi } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { openClient } from './open-client.ts'
import { rawServer, serve } from './serve.ts'

const CONFIG = { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf('{}'), size: 2 }
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: CONFIG,
    layers: [],
  }),
)
const DIGEST = digestOf(MANIFEST)

type Behaviour = (answer: ServerResponse, request: IncomingMessage) => void

/** A registry with one behaviour for manifests. */
const registryThat = (behave: Behaviour) =>
  serve((request, answer) => {
    if (request.url === '/v2/') answer.end('{}')
    else behave(answer, request)
  })

const sends =
  (body: Buffer | string, headers: Record<string, string> = {}, status = 200): Behaviour =>
  (answer) => {
    answer.writeHead(status, headers).end(body)
  }

const ask = (host: string, options = {}) =>
  openClient({ timeouts: { response: 2000, stall: 2000 } }).manifest(
    parseReference(`${host}/a/b:1`),
    options,
  )

const through = (origin: string, mirrors: string[]) =>
  openClient({ registries: { [origin]: { mirrors } } }).manifest(parseReference(`${origin}/a/b:1`))

const errors = (code: string, message: string) => JSON.stringify({ errors: [{ code, message }] })

describe('a manifest', () => {
  test('by tag comes with its digest, size and media type', async () => {
    const registry = await registryThat(
      sends(MANIFEST, {
        'content-type': `${MEDIA_TYPES.ociManifest}; charset=utf-8`,
        'docker-content-digest': DIGEST,
      }),
    )
    const { descriptor, bytes } = await ask(registry.host)
    expect(bytes).toEqual(MANIFEST)
    expect(descriptor).toEqual({
      mediaType: MEDIA_TYPES.ociManifest,
      digest: DIGEST,
      size: MANIFEST.length,
    })
    expect(registry.requests).toEqual(['GET /v2/', 'GET /v2/a/b/manifests/1'])
    expect(registry.headers[1]).toMatchObject({
      'accept-encoding': 'identity',
      'user-agent': expect.stringMatching(/^keelson\/\d/),
      accept: [
        MEDIA_TYPES.ociIndex,
        MEDIA_TYPES.ociManifest,
        MEDIA_TYPES.dockerList,
        MEDIA_TYPES.dockerManifest,
      ].join(', '),
    })
  })

  test('by digest is asked for by digest', async () => {
    const registry = await registryThat(sends(MANIFEST))
    const reference = parseReference(`${registry.host}/a:1@${DIGEST}`)
    const { descriptor } = await openClient().manifest(reference)
    expect(descriptor.digest).toBe(DIGEST)
    expect(registry.requests.at(-1)).toBe(`GET /v2/a/manifests/${DIGEST}`)
  })

  test('by sha512 is verified by sha512', async () => {
    const registry = await registryThat(sends(MANIFEST))
    const digest = digestOf(MANIFEST, 'sha512')
    expect((await ask(registry.host, { digest })).descriptor.digest).toBe(digest)
  })

  test('with other bytes than its digest says is refused', async () => {
    const registry = await registryThat(sends(Buffer.concat([MANIFEST, Buffer.from(' ')])))
    await expect(ask(registry.host, { digest: DIGEST })).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: DIGEST,
    })
  })

  test('by tag with other bytes than the registry itself states is refused', async () => {
    const registry = await registryThat(
      sends(MANIFEST, { 'docker-content-digest': digestOf('other') }),
    )
    await expect(ask(registry.host)).rejects.toMatchObject({ code: 'KEELSON_DIGEST_MISMATCH' })
  })

  test('with a malformed stated digest is refused', async () => {
    const registry = await registryThat(sends(MANIFEST, { 'docker-content-digest': 'sha256:xyz' }))
    await expect(ask(registry.host)).rejects.toMatchObject({ code: 'KEELSON_REGISTRY_PROTOCOL' })
  })

  test('of 100 MB is refused at the header, before its body', async () => {
    const registry = await registryThat((answer) => {
      answer.writeHead(200, { 'content-length': '100000000' })
      answer.flushHeaders()
    })
    await expect(ask(registry.host)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_PROTOCOL',
      message: expect.stringContaining('limit of 4194304 bytes'),
    })
  })

  test('that never ends is refused at 4 MiB, and the connection closed', async () => {
    const ended: Promise<unknown>[] = []
    const registry = await registryThat((answer) => {
      ended.push(once(answer, 'close'))
      const chunk = Buffer.alloc(64 * 1024, 0x20)
      const pump = () => {
        while (!answer.destroyed && answer.write(chunk)) continue
        if (!answer.destroyed) answer.once('drain', pump)
      }
      pump()
    })
    await expect(ask(registry.host)).rejects.toMatchObject({ code: 'KEELSON_REGISTRY_PROTOCOL' })
    await Promise.all(ended)
    expect(ended).toHaveLength(1)
  })

  test('of schema 1 is refused with a way out', async () => {
    const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws'
    const registry = await registryThat(sends('{"schemaVersion":1}', { 'content-type': type }))
    await expect(ask(registry.host)).rejects.toMatchObject({
      code: 'KEELSON_MANIFEST_UNSUPPORTED',
      hint: expect.stringContaining('skopeo'),
    })
  })

  test('that is no manifest but a web page is refused', async () => {
    const registry = await registryThat(sends('<html>', { 'content-type': 'text/html' }))
    await expect(ask(registry.host)).rejects.toMatchObject({ code: 'KEELSON_MANIFEST_INVALID' })
  })

  test('cut short of its Content-Length is asked for again', async () => {
    let times = 0
    const registry = await registryThat((answer, request) => {
      times++
      if (times > 1) return sends(MANIFEST)(answer, request)
      answer.writeHead(200, { 'content-length': `${MANIFEST.length}` })
      answer.write(MANIFEST.subarray(0, 10), () => answer.destroy())
    })
    expect((await ask(registry.host)).bytes).toEqual(MANIFEST)
    expect(times).toBe(2)
  })
})

describe('a registry that says no', () => {
  test.each([
    [401, 'KEELSON_REGISTRY_UNAUTHORIZED', 1],
    [403, 'KEELSON_REGISTRY_FORBIDDEN', 1],
    [404, 'KEELSON_IMAGE_NOT_FOUND', 1],
    [429, 'KEELSON_REGISTRY_RATE_LIMITED', 5],
    [500, 'KEELSON_REGISTRY_UNAVAILABLE', 5],
    [503, 'KEELSON_REGISTRY_UNAVAILABLE', 5],
    [501, 'KEELSON_REGISTRY_UNAVAILABLE', 1],
    [418, 'KEELSON_REGISTRY_PROTOCOL', 1],
    [206, 'KEELSON_REGISTRY_PROTOCOL', 1],
  ])('with %i is %s after %i tries', async (status, code, tries) => {
    const registry = await registryThat(sends(errors('X', 'no luck.'), {}, status))
    await expect(ask(registry.host)).rejects.toMatchObject({
      code,
      httpStatus: status,
      registry: registry.host,
      detail: 'no luck.',
    })
    expect(registry.requests.filter((each) => each.includes('manifests'))).toHaveLength(tries)
  })

  test('is quoted in one clean line', async () => {
    const nasty = `\u001b[2J\r\nX-Evil: 1\u202e${'A'.repeat(5000)}`
    const registry = await registryThat(sends(errors('DENIED', nasty), {}, 403))
    const failure = await ask(registry.host).catch((error: unknown) => error)
    expect(String(failure)).toMatch(/^RegistryError: [\x20-\x7e]{1,400}$/)
  })

  test('with nonsense or an endless explanation is understood by its status', async () => {
    for (const body of [
      '',
      'null',
      '{"errors":[]}',
      '{"errors":[null]}',
      '[1]',
      '<html>',
      'x'.repeat(1_000_000),
    ]) {
      const registry = await registryThat(sends(body, {}, 403))
      await expect(ask(registry.host)).rejects.toMatchObject({ code: 'KEELSON_REGISTRY_FORBIDDEN' })
    }
  })

  test('for now is asked again when it says', async () => {
    const order: string[] = []
    const registry = await registryThat((answer, request) => {
      order.push('asked')
      if (order.length === 1) sends('', { 'retry-after': '7' }, 429)(answer, request)
      else sends(MANIFEST)(answer, request)
    })
    const pause = async (milliseconds: number) => void order.push(`${milliseconds} ms`)
    await openClient({ retry: { pause } }).manifest(parseReference(`${registry.host}/a`))
    expect(order).toEqual(['asked', '7000 ms', 'asked'])
  })

  test('for an hour is not waited for', async () => {
    const registry = await registryThat(sends('', { 'retry-after': '3600' }, 429))
    await expect(ask(registry.host)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_RATE_LIMITED',
      retryAfter: 3_600_000,
    })
    expect(registry.requests).toHaveLength(2)
  })

  test('that never answers is given up', async () => {
    const registry = await registryThat(() => {})
    const client = openClient({ timeouts: { response: 100 } })
    await expect(client.manifest(parseReference(`${registry.host}/a`))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
      timeout: 100,
    })
  })

  test('that stops in the middle is given up', async () => {
    const registry = await registryThat((answer) => answer.writeHead(200).write('{'))
    const client = openClient({ timeouts: { stall: 50 } })
    await expect(client.manifest(parseReference(`${registry.host}/a`))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
      timeout: 50,
    })
  })

  test('and drips its manifest is given up', async () => {
    const registry = await registryThat((answer) => {
      const timer = setInterval(() => answer.write(' '), 10)
      answer.once('close', () => clearInterval(timer))
    })
    const client = openClient({ timeouts: { stall: 50 } })
    await expect(client.manifest(parseReference(`${registry.host}/a`))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
      timeout: 200,
    })
  })

  test('that does not speak HTTP, or not at all, is named', async () => {
    const { host, stop } = await rawServer((socket) => socket.end('SSH-2.0-x\r\n'))
    await expect(ask(host)).rejects.toMatchObject({ code: 'KEELSON_REGISTRY_PROTOCOL' })
    await stop()
    await expect(ask(host)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
      message: `The registry ${host} refuses connections.`,
    })
    await expect(ask('no-such-host.invalid')).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
    })
  })
})

describe('a caller that leaves', () => {
  test('before, while waiting for an answer, for a body, for a pause: always KEELSON_ABORTED', async () => {
    const before = await registryThat(sends(MANIFEST))
    await expect(ask(before.host, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'KEELSON_ABORTED',
    })
    expect(before.requests).toEqual([])

    const behaviours: Behaviour[] = [
      () => {},
      (answer) => answer.writeHead(200).write('{'),
      sends('', { 'retry-after': '50' }, 503),
    ]
    for (const behave of behaviours) {
      const control = new AbortController()
      const registry = await registryThat((answer, request) => {
        behave(answer, request)
        setImmediate(() => control.abort(new Error('mine')))
      })
      await expect(ask(registry.host, { signal: control.signal })).rejects.toMatchObject({
        code: 'KEELSON_ABORTED',
        cause: expect.objectContaining({ message: 'mine' }),
      })
    }
  })

  test('after AbortSignal.timeout() gets KEELSON_ABORTED, too', async () => {
    const registry = await registryThat(() => {})
    await expect(ask(registry.host, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
      code: 'KEELSON_ABORTED',
      cause: expect.objectContaining({ name: 'TimeoutError' }),
    })
  })

  test('by closing the client ends what is under way', async () => {
    const client = openClient()
    const registry = await registryThat(() => void client.close())
    const reference = parseReference(`${registry.host}/a`)
    await expect(client.manifest(reference)).rejects.toMatchObject({ code: 'KEELSON_CLOSED' })
    await expect(client.manifest(reference)).rejects.toMatchObject({ code: 'KEELSON_CLOSED' })
  })

  test('leaves no listener on its signal', async () => {
    const { signal } = new AbortController()
    const registry = await registryThat(sends(MANIFEST))
    await ask(registry.host, { signal })
    await vi.waitFor(() => expect(getEventListeners(signal, 'abort')).toEqual([]))
  })
})

describe('mirrors', () => {
  test('are asked first, with their prefix', async () => {
    const mirror = await registryThat(sends(MANIFEST))
    const origin = await registryThat(sends(MANIFEST))
    await through(origin.host, [`http://${mirror.host}/hub`])
    expect(mirror.requests).toEqual(['GET /v2/hub/a/b/manifests/1'])
    expect(origin.requests).toEqual([])
  })

  test.each<[string, Behaviour]>([
    ['have nothing', sends('', {}, 404)],
    ['want a login', sends('', {}, 401)],
    ['fail', sends('', {}, 500)],
    ['cut', (answer) => answer.destroy()],
    ['lie', sends(MANIFEST, { 'docker-content-digest': digestOf('lie') })],
    ['send nonsense', sends('nonsense')],
  ])('that %s are passed over', async (_, behave) => {
    const mirror = await registryThat(behave)
    const origin = await registryThat(sends(MANIFEST))
    expect((await through(origin.host, [mirror.host])).bytes).toEqual(MANIFEST)
  })

  test('that are down are passed over, and left alone for a while', async () => {
    const { host, stop } = await rawServer(() => {})
    await stop()
    const origin = await registryThat(sends(MANIFEST))
    expect((await through(origin.host, [host])).bytes).toEqual(MANIFEST)
  })

  test('never see credentials of the registry behind them', async () => {
    const mirror = await registryThat(sends('', { 'www-authenticate': 'Basic realm="x"' }, 401))
    const origin = await registryThat(sends(MANIFEST))
    const client = openClient({
      registries: {
        [origin.host]: { mirrors: [mirror.host], auth: { username: 'u', password: 'p' } },
      },
    })
    await client.manifest(parseReference(`${origin.host}/a`), {
      auth: { username: 'u', password: 'p' },
    })
    expect(mirror.headers.every((each) => each.authorization === undefined)).toBe(true)
  })

  test('whose failure is the last word leave it to the registry itself', async () => {
    const mirror = await registryThat(sends('', {}, 500))
    const origin = await registryThat(sends('', {}, 404))
    await expect(through(origin.host, [mirror.host])).rejects.toMatchObject({
      code: 'KEELSON_IMAGE_NOT_FOUND',
      registry: origin.host,
    })
  })

  test.each(['', 'ftp://x', 'https://user:pw@x', 'a b', 'https://x/../y?z'])(
    '%j is refused at once',
    (mirror) => {
      expect(() => openClient({ registries: { 'docker.io': { mirrors: [mirror] } } })).toThrow(
        expect.objectContaining({ code: 'KEELSON_INVALID_OPTION' }),
      )
    },
  )
})
