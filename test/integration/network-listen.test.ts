import { readdir } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { createServer as createNetServer, type Server as NetServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Container } from '../../src/index.ts'
import { certificates } from '../support/certificates.ts'
import { lookUp } from '../support/names.ts'
import { networked } from '../support/networked.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { program } from '../support/program.ts'

const on = networked()
const { start } = on
const hello: RequestListener = (_request, response) => response.end('hello')
/** What a container gets for a URL; its exit code is not 0 when it does not get there. */
async function fetchIn(container: Container, url: string, seconds = 5) {
  const { hostname, port, pathname, search } = new URL(url)
  const request = `GET ${pathname}${search} HTTP/1.0\\r\\n\\r\\n`
  const to = `${hostname.replace(/[[\]]/g, '')} ${port || '80'}`
  const script = `printf '${request}' | /bin/busybox nc -w ${seconds} ${to}`
  const ran = await container.exec(['/bin/busybox', 'sh', '-c', script], { reject: false })
  const [, body = ''] = ran.stdout.split('\r\n\r\n')
  return { body, exitCode: ran.exitCode }
}
const members = async () =>
  (await readdir(join(on.test.runRoot, 'networks', on.network.id, 'addresses'))).length
const refused = (code: string, facts: object = {}): unknown =>
  expect.objectContaining({ code, ...facts })
const names = () => readdir(join(on.test.runRoot, 'networks', on.network.id, 'names'))
const links = async () => (await on.host.exec('ip', '-o', 'link')).stdout

describe('a server of this program in a network', () => {
  it('is reached by its name, at an address of its own, from containers and the host', async () => {
    await using api = await on.network.listen('Api', 80, createServer(hello))
    const client = await start()
    expect(await fetchIn(client, 'http://api/')).toEqual({ body: 'hello', exitCode: 0 })
    const { pid } = await client.state()
    const [four = '', six = ''] = api.addresses
    expect([api.name, api.port, api.address, api.network]).toEqual(['api', 80, four, 'net'])
    expect(await lookUp(pid, 'resolve4', 'api')).toEqual([four])
    expect(await lookUp(pid, 'resolve6', 'api')).toEqual([six])
    expect(await lookUp(pid, 'reverse', four)).toEqual(['api'])
    expect((await fetchIn(client, `http://[${six}]/`)).body).toBe('hello')
    const fromHost = await on.host.exec('busybox', 'wget', '-q', '-O', '-', `http://${four}/`)
    expect(fromHost.stdout).toBe('hello')
    expect((await on.network.inspect()).servers).toEqual({ api: { addresses: [four, six] } })
  })

  it('knows who asks, and is asked over connections that nothing of ours passes on', async () => {
    const askers: (string | undefined)[] = []
    const server = createServer((request, response) => {
      askers.push(request.socket.remoteAddress)
      response.end(request.url)
    })
    await using api = await on.network.listen('api', 8080, server)
    const client = await start()
    const { body } = await fetchIn(client, `http://${api.name}:8080/path?query`)
    expect(body).toBe('/path?query')
    const { containers } = await on.network.inspect()
    const addresses = containers[client.id]?.addresses ?? []
    expect(askers).toHaveLength(1)
    expect(addresses).toContain(askers[0]?.replace('::ffff:', ''))
  })

  it('may be any: of http, https, net', async () => {
    await using temp = await temporaryDirectory()
    const { key, cert } = (await certificates(temp.path)).server
    const lines = createNetServer((socket) => socket.end('a line\n'))
    await using plain = await on.network.listen('plain', 7000, lines)
    await using secure = await on.network.listen(
      'api',
      443,
      createSecureServer({ key, cert }, hello),
    )
    const client = await start()
    const script = `/bin/busybox nc -w 5 ${plain.name} 7000 </dev/null`
    expect((await client.exec(['/bin/busybox', 'sh', '-c', script])).stdout).toBe('a line\n')
    const { stdout } = await on.host.exec('curl', '-sk', `https://${secure.address}/`)
    expect(stdout).toBe('hello')
  })

  it('has several ports under one name, which is given back with the last', async () => {
    const first = await on.network.listen('api', 80, createServer(hello))
    const second = await on.network.listen(
      'api',
      81,
      createServer((_request, response) => response.end('more')),
    )
    expect(second.address).toBe(first.address)
    const client = await start()
    await first.close()
    expect((await fetchIn(client, 'http://api:80/')).exitCode).not.toBe(0)
    expect((await fetchIn(client, 'http://api:81/')).body).toBe('more')
    const before = [await links(), await members()]
    await second.close()
    expect(await names()).not.toContain('api')
    expect(await members()).toBe(Number(before[1]) - 2)
    expect((await links()).split('\n').length).toBe(String(before[0]).split('\n').length - 1)
    await on.network.listen('api', 80, createServer(hello)).then((again) => again.close())
  })

  it('is there on an internal network, which has no other way out', async () => {
    const kept = await on.test.engine.networks.create({ name: 'inside', internal: true })
    await using _ = await kept.listen('api', 80, createServer(hello))
    const client = await start({ networks: 'inside' })
    expect((await fetchIn(client, 'http://api/')).body).toBe('hello')
  })

  it('is not reached from another network', async () => {
    await on.test.engine.networks.create({ name: 'other' })
    await using api = await on.network.listen('api', 80, createServer(hello))
    const stranger = await start({ networks: 'other' })
    expect((await fetchIn(stranger, 'http://api/')).exitCode).not.toBe(0)
    expect((await fetchIn(stranger, `http://${api.address}/`, 1)).exitCode).not.toBe(0)
  })

  it('ends with its listener, connections and all, and with itself', async () => {
    const client = await start()
    const closes: ((server: Server, close: () => Promise<void>) => Promise<unknown>)[] = [
      (_server, close) => close(),
      async (server) => {
        server.closeAllConnections()
        const closed = once(server, 'close')
        server.close()
        await closed
      },
    ]
    for (const close of closes) {
      const server = createServer((_request, response) => response.write('begun'))
      const api = await on.network.listen('api', 80, server)
      const asked = fetchIn(client, 'http://api/')
      await once(server, 'request')
      await close(server, () => api.close())
      expect((await asked).body).toMatch(/^(begun)?$/)
      await api.close()
      expect(await names()).not.toContain('api')
    }
  })
})

describe('what cannot listen in a network', () => {
  it('is told why, and leaves nothing', async () => {
    await start({ name: 'db' })
    const before = [await links(), await members()]
    const listen = async (name: string, port: number, server: NetServer = createServer()) =>
      await on.network.listen(name, port, server)
    await expect(listen('db', 80)).rejects.toEqual(
      refused('KEELSON_NAME_IN_USE', { server: 'db', network: 'net' }),
    )
    await expect(listen('host.keelson.internal', 80)).rejects.toEqual(
      refused('KEELSON_NAME_IN_USE'),
    )
    for (const name of ['', '..', 'a/b', '-a', 'x'.repeat(200), '.hidden']) {
      await expect(listen(name, 80)).rejects.toEqual(
        refused('KEELSON_INVALID_OPTION', { option: 'name' }),
      )
    }
    for (const port of [0, -1, 65_536, 1.5]) {
      await expect(listen('api', port)).rejects.toEqual(
        refused('KEELSON_INVALID_OPTION', { option: 'port' }),
      )
    }
    await expect(listen('api', 80, {} as NetServer)).rejects.toEqual(
      refused('KEELSON_INVALID_OPTION', { option: 'server' }),
    )
    const gone = await on.test.engine.networks.create({ name: 'gone' })
    await gone.remove()
    await expect(gone.listen('api', 80, createServer())).rejects.toEqual(
      refused('KEELSON_NETWORK_NOT_FOUND'),
    )
    const signal = AbortSignal.abort()
    await expect(on.network.listen('api', 80, createServer(), { signal })).rejects.toEqual(
      refused('KEELSON_ABORTED'),
    )
    expect([await links(), await members()]).toEqual(before)
  })

  it('is a second server at one port, and one server at two', async () => {
    const server = createServer(hello)
    await using api = await on.network.listen('api', 80, server)
    await expect(on.network.listen('api', 80, createServer())).rejects.toMatchObject({
      code: 'KEELSON_PORT_IN_USE',
      port: 80,
    })
    await expect(on.network.listen('api', 81, server)).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
      option: 'server',
    })
    const twice = createServer()
    const both = await Promise.allSettled([
      on.network.listen('twice', 80, twice),
      on.network.listen('twice', 81, twice),
    ])
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    for (const each of both) if (each.status === 'fulfilled') await each.value.close()
    await expect(on.network.remove()).rejects.toMatchObject({
      code: 'KEELSON_NETWORK_IN_USE',
      containers: [],
      servers: [api.name],
    })
  })
})

describe('the end of whoever listens', () => {
  it('is the end of its servers: an engine that closes takes them along', async () => {
    const server = createServer(hello)
    await on.network.listen('api', 80, server)
    const { root, runRoot } = on.test
    await on.test.engine.close()
    expect(server.listening).toBe(false)
    Object.assign(on.test, { engine: await on.host.open({ root, runRoot }) })
    on.network = await on.test.engine.networks.get('net')
    expect(await members()).toBe(0)
  })

  it('killed, a program leaves a name that the next may have at once, and nothing after an open', async () => {
    const other = await program({ root: on.test.root, runRoot: on.test.runRoot }, on.host)
    const listen = `
      const { createServer } = await import('node:http')
      const network = await engine.networks.get('net')
      const server = createServer((_request, response) => response.end('theirs'))
      const api = await network.listen('api', 80, server)
      say(api.address)`
    await other.ask(listen)
    const client = await start()
    expect((await fetchIn(client, 'http://api/')).body).toBe('theirs')
    await expect(on.network.listen('api', 80, createServer())).rejects.toMatchObject({
      code: 'KEELSON_NAME_IN_USE',
    })
    await other.kill()
    await expect.poll(links).not.toMatch(/(kv\w+@\S+.*\n[^]*){2}/)
    {
      await using _ = await on.network.listen('api', 80, createServer(hello))
      expect((await fetchIn(client, 'http://api/')).body).toBe('hello')
    }
    const another = await program({ root: on.test.root, runRoot: on.test.runRoot }, on.host)
    await another.ask(listen)
    await another.kill()
    const own = (await on.network.inspect()).containers[client.id]?.addresses.length ?? 0
    const opened = await on.host.open({ root: on.test.root, runRoot: on.test.runRoot })
    await opened.close()
    expect(await members()).toBe(own)
  })
})
