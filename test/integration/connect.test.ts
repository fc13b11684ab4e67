import { once } from 'node:events'
import { get, type Agent as HttpAgent, type IncomingMessage } from 'node:http'
import { createServer, get as getSecurely } from 'node:https'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent, fetch } from 'undici'
import { wait, type Container } from '../../src/index.ts'
import { Launcher } from '../../src/runtime/launcher.ts'
import { certificates } from '../support/certificates.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'
import { temporaryDirectory } from '../support/temp.ts'

const PAGE = 'HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello'
/** Answers every connection for as long as it lasts: a line that is empty ends a request. */
const HTTP = `while read line; do [ "$line" = "$(printf '\\r')" ] && printf '${PAGE}'; done`

let test: TestEngine
let web: Container
beforeAll(async () => {
  test = await testEngine()
  web = await test.engine.containers.run({
    image: test.image,
    command: ['sh', '-c', 'nc -ll -p 9000 -e cat & exec nc -ll -p 80 -e sh -c "$0"', HTTP],
  })
  await web.ready(wait.all([wait.port(80), wait.port(9000)]))
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

const ask = async (agent: HttpAgent, path = '/') => {
  const [answer] = (await once(get({ host: 'web', path, agent }), 'response')) as [IncomingMessage]
  return { status: answer.statusCode, body: await text(answer), socket: answer.socket }
}

describe('an agent of a container', () => {
  it('leads requests into it, whatever host they name', async () => {
    const agent = web.agent()
    expect(await ask(agent)).toMatchObject({ status: 200, body: 'hello' })
    const many = await Promise.all(Array.from({ length: 20 }, () => ask(agent)))
    expect(new Set(many.map(({ body }) => body))).toEqual(new Set(['hello']))
    agent.destroy()
  })

  it('keeps connections for the next request, when it is asked to', async () => {
    const agent = web.agent({ keepAlive: true, maxSockets: 1 })
    const first = await ask(agent)
    const second = await ask(agent)
    expect(first.body + second.body).toBe('hellohello')
    expect(second.socket).toBe(first.socket)
    agent.destroy()
  })

  it('fails a request where nobody listens', async () => {
    const request = get({ host: 'web', port: 81, agent: web.agent() })
    const [error] = (await once(request, 'error')) as [Error]
    expect(error).toMatchObject({ code: 'KEELSON_CONNECTION_REFUSED', port: 81 })
  })

  it('is undici’s, too', async () => {
    const dispatcher = new Agent({ connect: web.connector() })
    const answer = await fetch('http://web/', { dispatcher })
    expect([answer.status, await answer.text()]).toEqual([200, 'hello'])
    const refused: unknown = await fetch('http://web:81/', { dispatcher }).catch(
      (error: unknown) => error,
    )
    expect(refused).toMatchObject({ cause: { code: 'KEELSON_CONNECTION_REFUSED' } })
    await dispatcher.destroy()
  })

  it('speaks TLS, and trusts whom it is told to', async () => {
    await using temp = await temporaryDirectory()
    const { ca, server: pair } = await certificates(temp.path)
    const server = createServer(pair, (_request, response) => response.end('secret'))
    server.listen(0, 'localhost')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const command = ['sleep', '1000']
    const { image } = test
    await using host = await test.engine.containers.run({ image, command, networks: 'host' })
    try {
      const agent = host.agent({ tls: { ca: ca.cert } })
      const request = getSecurely({ host: 'localhost', port, agent })
      const [answer] = (await once(request, 'response')) as [IncomingMessage]
      expect(await text(answer)).toBe('secret')
      const distrustful = getSecurely({ host: 'localhost', port, agent: host.agent({ tls: true }) })
      await expect(once(distrustful, 'response')).rejects.toMatchObject({
        code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO/),
      })
      const dispatcher = new Agent({ connect: host.connector({ ca: ca.cert }) })
      const fetched = await fetch(`https://localhost:${port}/`, { dispatcher })
      expect(await fetched.text()).toBe('secret')
      await dispatcher.destroy()
    } finally {
      server.close()
    }
  })
})

describe('a connection that is made at once', () => {
  it('takes what is written before it stands, and still reads when its writing has ended', async () => {
    const connection = web.createConnection(9000)
    expect(connection.connecting).toBe(true)
    const bytes = Buffer.alloc(1_000_000, 'abcdefg')
    connection.setNoDelay(true).end(bytes)
    const [echo] = await Promise.all([connection.toArray(), once(connection, 'connect')])
    expect(Buffer.concat(echo as Buffer[]).equals(bytes)).toBe(true)
    expect(connection.connecting).toBe(false)
  })

  it('fails with what connect() rejects with', async () => {
    const refused = web.createConnection(81)
    const [error] = (await once(refused, 'error')) as [Error]
    expect(error).toMatchObject({ code: 'KEELSON_CONNECTION_REFUSED' })
    expect(() => web.createConnection(0)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION' }),
    )
    const control = new AbortController()
    const aborted = web.createConnection(9000, { signal: control.signal })
    await once(aborted, 'connect')
    control.abort()
    const [reason] = (await once(aborted, 'error')) as [Error]
    expect(reason).toMatchObject({ code: 'KEELSON_ABORTED' })
  })

  it('can be given up before it stands', async () => {
    const connection = web.createConnection(9000)
    connection.destroy()
    await once(connection, 'close')
    const socket = await web.connect(9000)
    socket.end('still there')
    expect(await text(socket)).toBe('still there')
  })
})

describe('connections into a container', () => {
  it('are as many as are asked for at once', async () => {
    const sockets = await Promise.all(Array.from({ length: 300 }, () => web.connect(9000)))
    expect(new Set(sockets.map(({ remotePort }) => remotePort))).toEqual(new Set([9000]))
    for (const socket of sockets) socket.destroy()
  })

  it('do not lead into a process that has got the number of its first one', async () => {
    const launcher = await Launcher.start()
    await using _ = { [Symbol.asyncDispose]: () => launcher.close() }
    const { pid } = (await web.inspect()).state
    const other = launcher.connect({ pid, parent: process.pid, port: 9000 })
    await expect(other).rejects.toMatchObject({ failure: { kind: 'not-running' } })
  })

  it('say that it has ended', async () => {
    await using short = await test.engine.containers.run({ image: test.image, command: ['true'] })
    await short.wait()
    await expect(short.connect(80)).rejects.toMatchObject({ code: 'KEELSON_CONTAINER_STATE' })
  })
})
