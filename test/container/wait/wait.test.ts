import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { waitUntilReady } from '../../../src/container/wait/ready.ts'
import { wait } from '../../../src/container/wait/wait.ts'
import { certificates } from '../../support/certificates.ts'
import { temporaryDirectory } from '../../support/temp.ts'
import { Target } from './target.ts'

const temp = await temporaryDirectory()
afterAll(() => temp[Symbol.asyncDispose]())

async function listening(server: net.Server, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** A port on which nobody listens now. */
async function freePort(): Promise<number> {
  const server = net.createServer()
  const port = await listening(server)
  server.close()
  await once(server, 'close')
  return port
}

/** Lets everything that can go on go on. */
const turn = () => new Promise((resolve) => setImmediate(resolve))

const late = (fields: object = {}) =>
  expect.objectContaining({ code: 'KEELSON_WAIT_TIMEOUT', ...fields })
const failed = (fields: object = {}) =>
  expect.objectContaining({ code: 'KEELSON_WAIT_FAILED', ...fields })
const says = (text: string) => ({ message: expect.stringContaining(text) })

describe('a port', () => {
  test('is ready when it listens', async () => {
    const port = await freePort()
    const ready = waitUntilReady(new Target(), wait.port(port))
    await listening(net.createServer(), port)
    await ready
  })

  test('on the address that was asked for', async () => {
    const port = await listening(net.createServer())
    await waitUntilReady(new Target(), wait.port(port, { host: '127.0.0.1' }))
    const other = wait.port(port, { host: '127.0.0.2', timeout: 20 })
    await expect(waitUntilReady(new Target(), other)).rejects.toEqual(late())
  })

  test('that never listens is told with those that do', async () => {
    const [port, silent] = [await listening(net.createServer()), await freePort()]
    const target = new Target()
    target.write('starting')
    target.write('still \u001b[1mstarting')
    const waiting = waitUntilReady(target, wait.port(silent), { timeout: 30 })
    await expect(waiting).rejects.toEqual(
      late({
        ...says(`not ready within 30 ms, waiting for port ${silent}/tcp to listen: it listens on `),
        listening: expect.arrayContaining([{ protocol: 'tcp', address: '127.0.0.1', port }]),
        logs: [
          { stream: 'stdout', text: 'starting' },
          { stream: 'stdout', text: 'still \u001b[1mstarting' },
        ],
      }),
    )
    await expect(waiting).rejects.toEqual(late(says('its last words were "still [1mstarting"')))
  })

  test('waits for a container to be started, and follows it over restarts', async () => {
    const port = await listening(net.createServer())
    const target = new Target()
    target.set(undefined)
    const ready = waitUntilReady(target, wait.port(port))
    await turn()
    target.set({ status: 'restarting', pid: 0 })
    await turn()
    target.set({ pid: process.pid })
    await ready
  })

  test('fails at once when the container ends', async () => {
    const target = new Target()
    const ready = waitUntilReady(target, wait.port(await freePort()))
    await turn()
    target.write('no space left', 'stderr')
    target.set({ status: 'exited', exitCode: 3, pid: 0 })
    await expect(ready).rejects.toEqual(
      failed({
        ...says('the container ended with exit code 3'),
        exit: { exitCode: 3, signal: null, oomKilled: false },
        logs: [{ stream: 'stderr', text: 'no space left' }],
        listening: [],
      }),
    )
    expect(target.waiting).toBe(0)
  })
})

describe('a log', () => {
  test('is ready when the line has been written, before or after', async () => {
    const target = new Target()
    target.write('listening')
    await waitUntilReady(target, wait.log('listening'))
    const ready = waitUntilReady(target, wait.log(/accept(ed)? 2/g, { stream: 'stderr', times: 2 }))
    target.write('accept 2')
    target.write('accept 2', 'stderr')
    await turn()
    target.write('accepted 2', 'stderr')
    await ready
    await vi.waitFor(() => expect(target.waiting).toBe(0))
  })

  test('counts a line that a container wrote with its last breath', async () => {
    const target = new Target()
    const ready = waitUntilReady(target, wait.log('done'))
    await turn()
    target.set({ status: 'exited', exitCode: 0, pid: 0 })
    target.write('done')
    await ready
  })

  test('that ends without the line is a failure', async () => {
    const target = new Target()
    const ready = waitUntilReady(target, wait.log('never'))
    await turn()
    target.set({ status: 'exited', exitCode: null, signal: 9, pid: 0 })
    target.write('the end')
    const why = 'the container ended by SIGKILL, and had written it 0 times'
    await expect(ready).rejects.toEqual(failed(says(why)))
  })
})

describe('HTTP', () => {
  test('is ready when the answer is the one wanted', async () => {
    let status = 503
    const seen: (string | undefined)[] = []
    const server = http.createServer((request, answer) => {
      seen.push(`${request.method} ${request.url} ${request.headers.host}`)
      answer.writeHead(status).end(`state ${seen.length}`)
      if (seen.length === 3) status = 204
    })
    const port = await listening(server)
    await waitUntilReady(new Target(), wait.http({ port, path: '/health?full', method: 'HEAD' }))
    expect(seen).toHaveLength(4)
    expect(seen[0]).toBe(`HEAD /health?full localhost:${port}`)
    status = 500
    await waitUntilReady(
      new Target(),
      wait.http({ port, status: [500], body: (text) => text === 'state 6' }),
    )
    expect(seen).toHaveLength(6)
  })

  test('and HTTPS, whatever the certificate', async () => {
    const { server: own } = await certificates(temp.path)
    const port = await listening(https.createServer(own, (_, answer) => void answer.end('x')))
    await waitUntilReady(new Target(), wait.http({ port, tls: true, status: 200 }))
  })

  test('tells the last answer, or why there was none', async () => {
    const port = await listening(http.createServer((_, answer) => void answer.writeHead(418).end()))
    await expect(waitUntilReady(new Target(), wait.http({ port, timeout: 100 }))).rejects.toEqual(
      late(says('the last answer had status 418')),
    )
    await expect(
      waitUntilReady(new Target(), wait.http({ port: await freePort() }), { timeout: 50 }),
    ).rejects.toEqual(late(says('ECONNREFUSED')))
  })

  test('gives a server up that never answers', async () => {
    const sockets: net.Socket[] = []
    const port = await listening(net.createServer((socket) => void sockets.push(socket)))
    onTestFinished(() => sockets.forEach((socket) => socket.destroy()))
    const never = wait.http({ port, patience: 20 })
    await expect(waitUntilReady(new Target(), never, { timeout: 100 })).rejects.toEqual(
      late(says('no answer came within 20 ms')),
    )
    expect(sockets.length).toBeGreaterThan(1)
  })
})

const health = (status: 'starting' | 'healthy' | 'unhealthy') => ({
  health: { status, failingStreak: status === 'unhealthy' ? 3 : 0, log: [] },
})

describe('health and end', () => {
  test('healthy is when the check says so', async () => {
    const target = new Target()
    target.set(health('starting'))
    const ready = waitUntilReady(target, wait.healthy())
    await turn()
    target.set(health('healthy'))
    await ready
  })

  test('unhealthy is a failure, and so is no check', async () => {
    const target = new Target()
    target.set(health('unhealthy'))
    await expect(waitUntilReady(target, wait.healthy())).rejects.toEqual(
      failed({ ...says('its health check failed 3 times in a row'), health: 'unhealthy' }),
    )
    target.checksHealth = false
    await expect(waitUntilReady(target, wait.healthy())).rejects.toEqual(
      failed(says('it has no health check')),
    )
  })

  test('an end, or one with a certain exit code', async () => {
    const target = new Target()
    const ends = [wait.exit(), wait.exit({ code: 4 })].map((each) => waitUntilReady(target, each))
    const other = waitUntilReady(target, wait.exit({ code: 0 }))
    await turn()
    target.set({ status: 'exited', exitCode: 4, pid: 0 })
    await Promise.all(ends)
    await expect(other).rejects.toEqual(failed(says('it ended with exit code 4')))
  })
})

describe('together', () => {
  test('all have to be ready', async () => {
    const target = new Target()
    const port = await listening(net.createServer())
    const ready = waitUntilReady(target, wait.all([wait.port(port), wait.log('go')]))
    let done = false
    void ready.then(() => (done = true))
    await turn()
    expect(done).toBe(false)
    target.write('go')
    await ready
  })

  test('the first that fails ends the others', async () => {
    const target = new Target()
    const strategy = wait.all([wait.log('never'), wait.log('neither', { timeout: 20 })])
    await expect(waitUntilReady(target, strategy)).rejects.toEqual(
      late(says('a line with "neither" in the log took longer than 20 ms')),
    )
    await vi.waitFor(() => expect(target.waiting).toBe(0))
  })

  test('any is enough, and only the failure of all is one', async () => {
    const target = new Target()
    const ready = waitUntilReady(target, wait.any([wait.log('a', { timeout: 10 }), wait.log('b')]))
    target.write('b')
    await ready
    target.checksHealth = false
    const both = wait.any([wait.log('c', { timeout: 10 }), wait.healthy()])
    await expect(waitUntilReady(target, both)).rejects.toEqual(
      late({ waitingFor: 'a line with "c" in the log or its health check to succeed' }),
    )
  })

  test('a function counts when it is true, and an error is not yet', async () => {
    let calls = 0
    const third = () => {
      calls++
      if (calls === 1) throw new Error('not yet')
      return calls === 3
    }
    await waitUntilReady(new Target(), wait.until(third))
    expect(calls).toBe(3)
    const never = wait.until(() => Promise.reject(new Error('no table')), {
      description: 'a table',
    })
    await expect(waitUntilReady(new Target(), never, { timeout: 30 })).rejects.toEqual(
      late(says('waiting for a table: its last error was: no table')),
    )
  })
})

describe('a caller', () => {
  test('who leaves gets KEELSON_ABORTED, and nothing goes on', async () => {
    const target = new Target()
    const control = new AbortController()
    const strategy = wait.all([wait.port(await freePort()), wait.log('x'), wait.exit()])
    const ready = waitUntilReady(target, strategy, { signal: control.signal })
    await turn()
    control.abort(new Error('mine'))
    await expect(ready).rejects.toMatchObject({
      code: 'KEELSON_ABORTED',
      cause: { message: 'mine' },
    })
    await vi.waitFor(() => expect(target.waiting).toBe(0))
    await expect(
      waitUntilReady(target, strategy, { signal: control.signal }),
    ).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
  })

  test.each([
    () => wait.port(0),
    () => wait.port(1.5),
    () => wait.port(80, { host: 'localhost' }),
    () => wait.log('x', { times: 0 }),
    () => wait.http({ port: 65_536 }),
    () => wait.all([]),
    () => wait.any([]),
    () => wait.exit({ timeout: 'soon' }),
  ])('who asks for nonsense is told at once: %s', (make) => {
    expect(make).toThrow(expect.objectContaining({ code: 'KEELSON_INVALID_OPTION' }))
  })
})
