import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import type { RegistryClientOptions } from '../../src/registry/options.ts'
import { certificates } from '../support/certificates.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { openClient } from './open-client.ts'
import { serve, type Served } from './serve.ts'

const temp = await temporaryDirectory()
afterAll(() => temp[Symbol.asyncDispose]())
const { ca: authority, server, client } = await certificates(temp.path)
const ca = authority.cert
const CONFIG = { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf('{}'), size: 2 }
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: CONFIG,
    layers: [],
  }),
)

const secure = (tls: object = {}) =>
  serve((_, answer) => answer.end(MANIFEST), {
    tls: { cert: server.cert, key: server.key, ...tls },
  })
const plain = () => serve((_, answer) => answer.end(MANIFEST))
const ask = (host: string, options: RegistryClientOptions = {}) =>
  openClient(options).manifest(parseReference(`${host}/a`))
const at = (host: string, options: object) => ({ registries: { [host]: options } })

describe('TLS', () => {
  test('on loopback is used when it is there, certificate or not', async () => {
    const registry = await secure()
    await ask(registry.host)
    expect(registry.requests).toEqual(['GET /v2/', 'GET /v2/a/manifests/latest'])
  })

  test('or plain HTTP, on the loopback of IPv6, too', async () => {
    const secured = await serve((_, answer) => answer.end(MANIFEST), {
      tls: server,
      address: '::1',
    })
    const bare = await serve((_, answer) => answer.end(MANIFEST), { address: '::1' })
    for (const registry of [secured, bare]) {
      expect(registry.host).toMatch(/^\[::1\]:\d+$/)
      await ask(registry.host)
      expect(registry.requests).toEqual(['GET /v2/', 'GET /v2/a/manifests/latest'])
    }
    await expect(ask(bare.host, at(bare.host, { insecure: false }))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
    })
  })

  test('with its own authority is verified', async () => {
    const registry = await secure()
    await ask(registry.host, at(registry.host, { ca }))
    expect(registry.requests).toHaveLength(1)
  })

  test('that cannot be verified is KEELSON_REGISTRY_UNTRUSTED and gets no request', async () => {
    const registry = await secure()
    await expect(ask(registry.host, at(registry.host, { insecure: false }))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNTRUSTED',
      hint: expect.stringContaining('/etc/docker/certs.d/'),
    })
    const another = await temporaryDirectory()
    onTestFinished(() => another[Symbol.asyncDispose]())
    const other = (await certificates(another.path)).ca.cert
    await expect(ask(registry.host, at(registry.host, { ca: other }))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNTRUSTED',
    })
    expect(registry.requests).toEqual([])
  })

  test('for another name is not trusted', async () => {
    const registry = await serve((_, answer) => answer.end(MANIFEST), {
      tls: server,
      address: '127.0.0.2',
    })
    await expect(ask(registry.host, at(registry.host, { ca }))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNTRUSTED',
    })
  })

  test('is not given up for plain HTTP where it was not allowed', async () => {
    const registry = await plain()
    await expect(ask(registry.host, at(registry.host, { insecure: false }))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
      hint: expect.stringContaining('insecure: true'),
    })
    expect(registry.requests).toEqual([])
  })

  test('with a client certificate', async () => {
    const names: string[] = []
    const registry = await serve(
      (request, answer) => {
        names.push(String((request.socket as TLSSocket).getPeerCertificate().subject.CN))
        answer.end(MANIFEST)
      },
      {
        tls: {
          cert: server.cert,
          key: server.key,
          ca,
          requestCert: true,
          rejectUnauthorized: true,
        },
      },
    )
    await ask(registry.host, at(registry.host, { ca, cert: client.cert, key: client.key }))
    expect(names).toEqual(['keelson test client'])
    await expect(ask(registry.host, at(registry.host, { ca }))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
    })
    await expect(
      ask(registry.host, at(registry.host, { ca, cert: client.cert })),
    ).rejects.toMatchObject({ code: 'KEELSON_INVALID_OPTION' })
  })

  test("with certificates in Docker's layout", async () => {
    const registry = await secure({ ca, requestCert: true, rejectUnauthorized: true })
    const directory = await mkdtemp(join(tmpdir(), 'keelson-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    const own = join(directory, registry.host)
    await mkdir(own)
    await writeFile(join(own, 'ca.crt'), ca)
    await writeFile(join(own, 'client.cert'), client.cert)
    const options: RegistryClientOptions = {
      ...at(registry.host, { insecure: false }),
      certificateDirectories: ['/nonexistent', directory],
    }
    await expect(ask(registry.host, options)).rejects.toMatchObject({
      code: 'KEELSON_CREDENTIALS',
      hint: expect.stringContaining('.key'),
    })
    await writeFile(join(own, 'client.key'), client.key)
    await ask(registry.host, options)
    expect(registry.requests).toHaveLength(1)
  })

  test('and a redirect to plain HTTP elsewhere is refused', async () => {
    const registry = await serve(
      (_, answer) => answer.writeHead(302, { location: 'http://192.0.2.1/' }).end(),
      { tls: { cert: server.cert, key: server.key } },
    )
    await expect(ask(registry.host, at(registry.host, { ca }))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_PROTOCOL',
      message: expect.stringContaining('https to http'),
    })
  })

  test('and a token server on plain HTTP elsewhere is refused before it learns anything', async () => {
    const challenge = 'Bearer realm="http://192.0.2.1/token"'
    const registry = await serve(
      (_, answer) => answer.writeHead(401, { 'www-authenticate': challenge }).end(),
      { tls: { cert: server.cert, key: server.key } },
    )
    const options = at(registry.host, { ca, auth: { username: 'u', password: 'p' } })
    await expect(ask(registry.host, options)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_PROTOCOL',
      message: expect.stringContaining('token server'),
    })
  })
})

/** A forwarding proxy: CONNECT and absolute requests; everything goes to `target`, whatever its name. */
async function proxyTo(
  target: () => Served,
  accepts: (authorization: string | undefined) => boolean = () => true,
) {
  const seen: string[] = []
  const proxy = http.createServer((request, answer) => {
    seen.push(`${request.method} ${request.url}`)
    if (!accepts(request.headers['proxy-authorization'])) return void answer.writeHead(407).end()
    const { pathname } = new URL(request.url ?? '')
    const onward = http.get(`http://${target().host}${pathname}`, (inner) => {
      answer.writeHead(inner.statusCode ?? 500, inner.headers)
      inner.pipe(answer)
    })
    onward.on('error', () => answer.destroy())
    return undefined
  })
  proxy.on('connect', (request, socket) => {
    seen.push(`CONNECT ${request.url}`)
    socket.on('error', () => {})
    if (!accepts(request.headers['proxy-authorization']))
      return void socket.end('HTTP/1.1 407 No\r\n\r\n')
    const [host, port] = target().host.split(':')
    const onward = net.connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    })
    onward.on('error', () => socket.destroy())
    socket.once('close', () => onward.destroy())
    return undefined
  })
  await new Promise<void>((resolve) => {
    proxy.listen(0, '127.0.0.1', resolve)
  })
  onTestFinished(() => {
    proxy.closeAllConnections()
    proxy.close()
  })
  const address = proxy.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return { url: `http://127.0.0.1:${port}`, host: `127.0.0.1:${port}`, seen }
}

describe('a proxy', () => {
  test('from the environment makes a tunnel for https', async () => {
    const registry = await secure()
    const proxy = await proxyTo(() => registry)
    const options = { env: { HTTPS_PROXY: proxy.url }, ...at('far.example', { insecure: true }) }
    await ask('far.example', options)
    expect(proxy.seen).toEqual(['CONNECT far.example:443'])
    expect(registry.headers[0]?.host).toBe('far.example')
  })

  test('is told absolute addresses for http, and its password', async () => {
    const registry = await plain()
    const login = `Basic ${Buffer.from('me:p@ss').toString('base64')}`
    const proxy = await proxyTo(
      () => registry,
      (sent) => sent === login,
    )
    const address = `http://me:p%40ss@${proxy.host}`
    const options = {
      env: { NO_PROXY: '*' },
      registries: {
        'far.example': { mirrors: ['http://near.example:8080'] },
        'near.example:8080': { proxy: address },
      },
    }
    await openClient(options).manifest(parseReference('far.example/a'))
    expect(proxy.seen).toEqual(['GET http://near.example:8080/v2/a/manifests/latest'])
    expect(registry.headers[0]?.['proxy-authorization']).toBeUndefined()
  })

  test('still leaves certificates to be verified', async () => {
    const registry = await secure()
    const proxy = await proxyTo(() => registry)
    const env = { HTTPS_PROXY: proxy.url }
    await expect(ask('far.example', { env, ...at('far.example', { ca }) })).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNTRUSTED',
    })
    expect(registry.requests).toEqual([])
  })

  test('that refuses is named as the cause', async () => {
    const registry = await secure()
    const proxy = await proxyTo(
      () => registry,
      () => false,
    )
    const failure = ask('far.example', { env: { HTTPS_PROXY: proxy.url } })
    await expect(failure).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
      message: expect.stringContaining('proxy'),
      cause: expect.objectContaining({ message: expect.stringContaining('407') }),
    })
  })

  test('is not used where it is excluded or switched off', async () => {
    const registry = await plain()
    const proxy = await proxyTo(() => registry)
    await ask(registry.host, { env: { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url } })
    const env = { HTTPS_PROXY: proxy.url }
    for (const options of [
      { env: { ...env, NO_PROXY: 'no-such.invalid' } },
      { env, ...at('no-such.invalid', { proxy: false }) },
    ]) {
      await expect(ask('no-such.invalid', options)).rejects.toMatchObject({
        code: 'KEELSON_REGISTRY_UNREACHABLE',
      })
    }
    expect(proxy.seen).toEqual([])
  })

  test('that is no proxy is refused before anything else', async () => {
    await expect(ask('far.example', { env: { HTTPS_PROXY: 'socks5://x' } })).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
    })
  })
})
