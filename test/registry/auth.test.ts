import type { IncomingMessage, ServerResponse } from 'node:http'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import type { RegistryAuth, RegistryClientOptions } from '../../src/registry/options.ts'
import { collect, openClient } from './open-client.ts'
import { serve, type Served } from './serve.ts'

const CONFIG = { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf('{}'), size: 2 }
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: CONFIG,
    layers: [],
  }),
)
const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`
const LOGIN: RegistryAuth = { username: 'ann', password: 'pa:ss' }

interface TokenRequest {
  method: string
  query: URLSearchParams
  form: URLSearchParams
  authorization: string | undefined
}

type Mint = (request: TokenRequest, answer: ServerResponse, count: number) => void

const mints =
  (fields: (request: TokenRequest, count: number) => object): Mint =>
  (request, answer, count) =>
    answer.end(JSON.stringify(fields(request, count)))

/** A token server, and what it was asked. */
async function tokenServer(mint: Mint) {
  const asked: TokenRequest[] = []
  const served = await serve((request, answer) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const each = {
        method: request.method ?? '',
        query: new URL(request.url ?? '', 'http://x').searchParams,
        form: new URLSearchParams(Buffer.concat(chunks).toString()),
        authorization: request.headers.authorization,
      }
      asked.push(each)
      mint(each, answer, asked.length)
    })
  })
  return { ...served, asked }
}

/** A registry that lets in who has one of these authorizations, and challenges others. */
function guarded(
  challenge: string | string[],
  accepts: (authorization: string) => boolean,
): Promise<Served> {
  return serve((request, answer) => {
    if (request.url === '/v2/') answer.end('{}')
    else if (accepts(request.headers.authorization ?? ''))
      answer.end(request.url?.includes('blobs') ? '{}' : MANIFEST)
    else
      answer
        .writeHead(401, { 'www-authenticate': challenge })
        .end('{"errors":[{"code":"UNAUTHORIZED","message":"go away"}]}')
  })
}

const bearer = (host: string, more = '') =>
  `Bearer realm="http://${host}/token",service="the, registry"${more}`

function pull(registry: Served, auth?: RegistryAuth, options: RegistryClientOptions = {}) {
  return openClient({ timeouts: { response: 2000 }, ...options }).manifest(
    parseReference(`${registry.host}/a/b:1`),
    { auth },
  )
}

describe('a Basic challenge', () => {
  test('is answered with the login, and not awaited the next time', async () => {
    const registry = await guarded('Basic realm="x, y"', (sent) => sent === basic('ann:pa:ss'))
    const client = openClient()
    const reference = parseReference(`${registry.host}/a`)
    await client.manifest(reference, { auth: LOGIN })
    await client.manifest(reference, { auth: LOGIN })
    expect(registry.headers.map(({ authorization }) => authorization)).toEqual([
      undefined,
      undefined,
      basic('ann:pa:ss'),
      basic('ann:pa:ss'),
    ])
  })

  test('is answered as soon as somebody has logged in', async () => {
    const registry = await guarded('Basic realm="x"', (sent) => sent === basic('ann:pw'))
    const env: NodeJS.ProcessEnv = {}
    const client = openClient({ env })
    const reference = parseReference(`${registry.host}/a`)
    await expect(client.manifest(reference)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNAUTHORIZED',
    })
    const auths = { [registry.host]: { username: 'ann', password: 'pw' } }
    env['DOCKER_AUTH_CONFIG'] = JSON.stringify({ auths })
    await client.manifest(reference)
  })

  test('without a login, or with a wrong one, is KEELSON_REGISTRY_UNAUTHORIZED', async () => {
    const registry = await guarded('Basic realm="x"', () => false)
    for (const auth of [undefined, LOGIN, { identityToken: 'x' }]) {
      await expect(pull(registry, auth)).rejects.toMatchObject({
        code: 'KEELSON_REGISTRY_UNAUTHORIZED',
        detail: 'go away',
        hint: expect.stringContaining('docker login'),
      })
    }
    expect(registry.requests.filter((each) => each.includes('manifests'))).toHaveLength(4)
  })
})

describe('a Bearer challenge', () => {
  test('without a login is answered with an anonymous token for pulling', async () => {
    const tokens = await tokenServer(mints(() => ({ token: 't1', expires_in: 300 })))
    const registry = await guarded(
      bearer(tokens.host, ',scope="repository:a/b:pull,push"'),
      (sent) => sent === 'Bearer t1',
    )
    await pull(registry)
    expect(tokens.asked).toHaveLength(1)
    expect(tokens.asked[0]).toMatchObject({ method: 'GET', authorization: undefined })
    expect([...(tokens.asked[0]?.query ?? [])]).toEqual([
      ['service', 'the, registry'],
      ['scope', 'repository:a/b:pull'],
    ])
  })

  test('with a login sends it to the token server only', async () => {
    const tokens = await tokenServer(mints(() => ({ access_token: 't1' })))
    const registry = await guarded(bearer(tokens.host), (sent) => sent === 'Bearer t1')
    await pull(registry, LOGIN)
    expect(tokens.asked[0]?.authorization).toBe(basic('ann:pa:ss'))
    expect(tokens.asked[0]?.query.get('account')).toBe('ann')
    expect(registry.headers.some(({ authorization }) => authorization?.startsWith('Basic'))).toBe(
      false,
    )
  })

  test('is preferred to Basic, also as a header of its own', async () => {
    const tokens = await tokenServer(mints(() => ({ token: 't1' })))
    for (const challenge of [
      ['Basic realm="x"', bearer(tokens.host)],
      `Basic realm="x", ${bearer(tokens.host)}`,
    ]) {
      await pull(await guarded(challenge, (sent) => sent === 'Bearer t1'), LOGIN)
    }
  })

  test('with an identity token buys access by OAuth2, and uses a new refresh token when given one', async () => {
    const tokens = await tokenServer(
      mints((_, count) => ({
        access_token: `t${count}`,
        expires_in: 1e-9,
        refresh_token: `r${count}`,
      })),
    )
    const registry = await guarded(bearer(tokens.host), (sent) => sent.startsWith('Bearer t'))
    const client = openClient()
    const reference = parseReference(`${registry.host}/a/b`)
    await client.manifest(reference, { auth: { identityToken: 'r0' } })
    await client.manifest(reference, { auth: { identityToken: 'r0' } })
    expect(
      tokens.asked.map(({ method, form }) => [
        method,
        form.get('grant_type'),
        form.get('refresh_token'),
        form.get('scope'),
        form.get('service'),
      ]),
    ).toEqual([
      ['POST', 'refresh_token', 'r0', 'repository:a/b:pull', 'the, registry'],
      ['POST', 'refresh_token', 'r1', 'repository:a/b:pull', 'the, registry'],
    ])
  })

  test('with a registry token sends it as it is', async () => {
    const registry = await guarded(bearer('127.0.0.1:1'), (sent) => sent === 'Bearer mine')
    await pull(registry, { registryToken: 'mine' })
    expect(registry.requests).toHaveLength(2)
  })

  test('is met once for many requests at a time', async () => {
    const tokens = await tokenServer(mints(() => ({ token: 't1', expires_in: 300 })))
    const registry = await guarded(bearer(tokens.host), (sent) => sent === 'Bearer t1')
    const client = openClient()
    const reference = parseReference(`${registry.host}/a/b`)
    await Promise.all(Array.from({ length: 8 }, () => collect(client.blob(reference, CONFIG))))
    expect(tokens.asked).toHaveLength(1)
    await client.manifest(parseReference(`${registry.host}/other`))
    expect(tokens.asked.map(({ query }) => query.get('scope'))).toEqual([
      'repository:a/b:pull',
      'repository:other:pull',
    ])
  })

  test('gets a new token when the old one expired, or was refused all the same', async () => {
    let valid = 't1'
    const tokens = await tokenServer(
      mints((_, count) => ({ token: `t${count}`, expires_in: count === 1 ? 300 : 1e-9 })),
    )
    const registry = await guarded(bearer(tokens.host), (sent) => sent === `Bearer ${valid}`)
    const client = openClient()
    const reference = parseReference(`${registry.host}/a/b`)
    await client.manifest(reference)
    valid = 't2'
    await client.manifest(reference)
    valid = 't3'
    await client.manifest(reference)
    expect(tokens.asked).toHaveLength(3)
    // The third was known to be expired: no request was wasted on the second.
    expect(
      registry.headers.filter(({ authorization }) => authorization === 'Bearer t2'),
    ).toHaveLength(1)
  })

  test('and all that follows share one connection', async () => {
    const tokens = await tokenServer(mints(() => ({ token: 't1' })))
    const registry = await guarded(bearer(tokens.host), (sent) => sent === 'Bearer t1')
    const client = openClient({
      registries: { 'far.example': { mirrors: [`http://${registry.host}`] } },
    })
    const reference = parseReference('far.example/a')
    await client.manifest(reference)
    await client.manifest(reference)
    await collect(client.blob(reference, CONFIG))
    expect(registry.requests).toHaveLength(4)
    expect(registry.connections).toBe(1)
  })

  test('that no token satisfies is not tried for ever', async () => {
    const tokens = await tokenServer(mints((_, count) => ({ token: `t${count}` })))
    const registry = await guarded(bearer(tokens.host), () => false)
    await expect(pull(registry, LOGIN)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNAUTHORIZED',
    })
    expect(tokens.asked).toHaveLength(1)
  })

  test('for a scope that names no repository asks for that scope', async () => {
    const tokens = await tokenServer(mints(() => ({ token: 't1', expires_in: 300 })))
    const registry = await guarded(
      bearer(tokens.host, ',scope="aws"'),
      (sent) => sent === 'Bearer t1',
    )
    await pull(registry)
    expect(tokens.asked[0]?.query.get('scope')).toBe('aws')
  })
})

describe('a token server', () => {
  test('that hangs ends in time', async () => {
    const tokens = await tokenServer(() => {})
    const registry = await guarded(bearer(tokens.host), () => false)
    await expect(pull(registry, LOGIN, { timeouts: { response: 100 } })).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
      registry: tokens.host,
      timeout: 100,
    })
  })

  test('that hangs holds up nobody who leaves', async () => {
    const control = new AbortController()
    const tokens = await tokenServer(() => control.abort())
    const registry = await guarded(bearer(tokens.host), () => false)
    const client = openClient()
    await expect(
      client.manifest(parseReference(`${registry.host}/a`), { signal: control.signal }),
    ).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
  })

  test.each<[string, string, Mint]>([
    [
      'does not know the login',
      'KEELSON_REGISTRY_UNAUTHORIZED',
      (_, answer) => answer.writeHead(401).end('{"details":"incorrect username or password"}'),
    ],
    ['forbids', 'KEELSON_REGISTRY_FORBIDDEN', (_, answer) => answer.writeHead(403).end()],
    ['fails', 'KEELSON_REGISTRY_UNAVAILABLE', (_, answer) => answer.writeHead(500).end()],
    ['is not there', 'KEELSON_REGISTRY_PROTOCOL', (_, answer) => answer.writeHead(404).end()],
    ['answers no JSON', 'KEELSON_REGISTRY_PROTOCOL', (_, answer) => answer.end('hello')],
    ['gives no token', 'KEELSON_REGISTRY_PROTOCOL', mints(() => ({}))],
    [
      'gives a header for a token',
      'KEELSON_REGISTRY_PROTOCOL',
      mints(() => ({ token: 'a\r\nX-Evil: 1' })),
    ],
    [
      'gives 2 MB of token',
      'KEELSON_REGISTRY_PROTOCOL',
      mints(() => ({ token: 'x'.repeat(2_000_000) })),
    ],
    [
      'redirects in a circle',
      'KEELSON_REGISTRY_PROTOCOL',
      (_, answer) => answer.writeHead(302, { location: '/token?scope=x' }).end(),
    ],
  ])('that %s is %s', async (_, code, mint) => {
    const tokens = await tokenServer(mint)
    const registry = await guarded(bearer(tokens.host), () => false)
    await expect(pull(registry, LOGIN)).rejects.toMatchObject({ code })
  })

  test('that redirects elsewhere does not take the login there', async () => {
    const elsewhere = await tokenServer(mints(() => ({ token: 't1' })))
    const tokens = await tokenServer((_, answer) =>
      answer.writeHead(302, { location: `http://${elsewhere.host}/x` }).end(),
    )
    const registry = await guarded(bearer(tokens.host), (sent) => sent === 'Bearer t1')
    await pull(registry, LOGIN)
    expect(tokens.asked[0]?.authorization).toBe(basic('ann:pa:ss'))
    expect(elsewhere.asked[0]?.authorization).toBeUndefined()
  })

  test('that redirects a POST keeps the identity token to itself', async () => {
    const elsewhere = await tokenServer(mints(() => ({ token: 't1' })))
    const tokens = await tokenServer((_, answer) =>
      answer.writeHead(307, { location: `http://${elsewhere.host}/x` }).end(),
    )
    const registry = await guarded(bearer(tokens.host), (sent) => sent === 'Bearer t1')
    await expect(pull(registry, { identityToken: 'secret' })).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_PROTOCOL',
    })
    expect(elsewhere.asked).toEqual([])
  })

  test.each(['', 'token', '/token', 'file:///etc/passwd', 'http://u:p@127.0.0.1/'])(
    'at %j is refused',
    async (realm) => {
      const registry = await guarded(`Bearer realm="${realm}"`, () => false)
      await expect(pull(registry, LOGIN)).rejects.toMatchObject({
        code: 'KEELSON_REGISTRY_PROTOCOL',
        message: expect.stringContaining('token server'),
      })
    },
  )
})

const redirecting = (where: () => string, accepts = basic('ann:pa:ss')) =>
  serve((request, answer) => {
    if (request.url === '/v2/') answer.end('{}')
    else if (request.headers.authorization !== accepts)
      answer.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    else answer.writeHead(307, { location: where() }).end()
  })

describe('credentials stay with their host', () => {
  test('when a blob is redirected to another host', async () => {
    const storage = await serve((_, answer) => answer.end('{}'))
    const registry = await redirecting(() => `http://${storage.host}/signed?key=1`)
    const client = openClient()
    const blob = await collect(
      client.blob(parseReference(`${registry.host}/a`), CONFIG, { auth: LOGIN }),
    )
    expect(blob.toString()).toBe('{}')
    expect(storage.requests).toEqual(['GET /signed?key=1'])
    expect(storage.headers[0]?.authorization).toBeUndefined()
  })

  test('when the other host asks for them', async () => {
    const storage = await serve((_, answer) =>
      answer.writeHead(401, { 'www-authenticate': 'Basic realm="gimme"' }).end(),
    )
    const registry = await redirecting(() => `http://${storage.host}/x`)
    await expect(pull(registry, LOGIN)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNAUTHORIZED',
    })
    expect(storage.headers.map(({ authorization }) => authorization)).toEqual([undefined])
  })

  test('when the other host sends us back', async () => {
    const seen: (string | undefined)[] = []
    const origin: { host: string } = { host: '' }
    const storage = await serve((_, answer) =>
      answer.writeHead(307, { location: `http://${origin.host}/delete-all` }).end(),
    )
    const registry = await serve((request: IncomingMessage, answer) => {
      if (request.url === '/delete-all') {
        seen.push(request.headers.authorization)
        answer.writeHead(404).end()
      } else if (request.url === '/v2/') answer.end('{}')
      else if (request.headers.authorization === undefined)
        answer.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
      else answer.writeHead(307, { location: `http://${storage.host}/` }).end()
    })
    origin.host = registry.host
    await expect(pull(registry, LOGIN)).rejects.toMatchObject({ code: 'KEELSON_IMAGE_NOT_FOUND' })
    expect(seen).toEqual([undefined])
  })

  test('and a redirect in a circle ends', async () => {
    const registry = await redirecting(() => '/v2/a/b/manifests/1')
    await expect(pull(registry, LOGIN)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_PROTOCOL',
      message: expect.stringContaining('in a circle'),
    })
    let count = 0
    const endless = await redirecting(() => `/next/${count++}`)
    await expect(pull(endless, LOGIN)).rejects.toMatchObject({
      message: expect.stringContaining('more than 10'),
    })
  })

  test('and are in no error', async () => {
    const registry = await guarded('Basic realm="x"', () => false)
    const failure = await pull(registry, { username: 'ann', password: 'secret-word' }).catch(
      (error: unknown) => error,
    )
    const dead = await pull(
      { ...registry, host: '127.0.0.1:9' },
      { registryToken: 'secret-word' },
    ).catch((error: unknown) => error)
    for (const error of [failure, dead]) {
      expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(
        /secret-word|YW5uOnNlY3Jld/,
      )
    }
  })
})
