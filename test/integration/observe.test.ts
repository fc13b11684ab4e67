import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { wait, type CreateOptions, type Stats } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await testEngine()
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

const coded = (code: string, fields: object = {}) => expect.objectContaining({ code, ...fields })
const run = (script: string, options: Partial<CreateOptions> = {}) =>
  test.engine.containers.run({ image: test.image, command: ['sh', '-c', script], ...options })

/** Samples until one is as wanted. */
async function until(samples: AsyncIterable<Stats>, isSo: (stats: Stats) => boolean) {
  for await (const stats of samples) if (isSo(stats)) return stats
  throw new Error('the container ended before')
}

describe('statistics', () => {
  it('agree with what the container knows that it does', async () => {
    const script = `
      dd if=/dev/zero of=/dev/shm/file bs=1M count=32 2>/dev/null
      sleep 1000 & sleep 1000 & echo ready
      while :; do :; done
    `
    await using container = await run(script, { memory: '200m', pids: 50, shmSize: '64m' })
    await container.ready(wait.log('ready'))
    const seen = await until(
      container.stats({ interval: 50 }),
      ({ cpu }) => cpu?.percent !== undefined && cpu.percent > 20 && cpu.usageNs > 5e7,
    )
    expect(seen.cpu).toMatchObject({ throttledPeriods: 0, throttledNs: 0 })
    expect(seen.cpu?.userNs).toBeGreaterThan(0)
    // Files of a tmpfs are page cache that cannot be dropped.
    expect(seen.memory).toMatchObject({ limit: 200 * 2 ** 20, swap: 0 })
    expect(seen.memory?.usage).toBeGreaterThan(32 * 2 ** 20)
    expect(seen.memory?.cache).toBeGreaterThanOrEqual(32 * 2 ** 20)
    expect(seen.memory?.peak).toBeGreaterThanOrEqual(seen.memory?.usage ?? Infinity)
    expect(seen.memory?.rss).toBeLessThan(32 * 2 ** 20)
    expect(seen.pids).toEqual({ current: 3, limit: 50 })
    expect(seen.io).toMatchObject({ readBytes: expect.any(Number) })
    expect(seen.networks).toEqual({})
    expect(seen.time.getTime()).toBeGreaterThan(container.createdAt.getTime())
  })

  it('count what a limit holds up', async () => {
    await using container = await run('while :; do :; done', { cpus: 0.1 })
    const seen = await until(
      container.stats({ interval: 50 }),
      ({ cpu }) => (cpu?.throttledPeriods ?? 0) > 2,
    )
    expect(seen.cpu?.throttledNs).toBeGreaterThan(0)
  })

  it('end with the container; one sample, if only one is wanted', async () => {
    await using container = await run('read line', { stdin: true })
    const single: Stats[] = []
    for await (const stats of container.stats({ stream: false })) single.push(stats)
    expect(single).toHaveLength(1)
    expect(single[0]?.cpu?.percent).toBeUndefined()
    const all: Stats[] = []
    for await (const stats of container.stats({ interval: '1h' })) {
      all.push(stats)
      await container.kill()
    }
    expect(all).toHaveLength(1)
    await expect(container.stats().next()).rejects.toEqual(
      coded('KEELSON_CONTAINER_STATE', { containerStatus: 'exited' }),
    )
  })

  it('stop when the caller leaves', async () => {
    await using container = await run('sleep 1000')
    const control = new AbortController()
    const samples = container.stats({ interval: '1h', signal: control.signal })
    await samples.next()
    const next = samples.next()
    control.abort()
    await expect(next).rejects.toEqual(coded('KEELSON_ABORTED'))
    expect(() => container.stats({ interval: 'often' })).toThrow(coded('KEELSON_INVALID_OPTION'))
  })
})

describe('processes', () => {
  it('are those of the container, as the kernel knows them', async () => {
    const script = 'sleep 1001 & exec sleep 1002'
    await using container = await run(script, { user: 'user', init: false })
    const asked = async () => {
      const all = await container.top()
      return all.filter(({ args }) => args.at(-1)?.startsWith('100'))
    }
    await expect.poll(async () => (await asked()).length).toBe(2)
    const [first, second] = await asked()
    expect(first).toMatchObject({
      containerPid: 1,
      user: 'user',
      uid: 1000,
      state: 'sleeping',
      command: 'sleep',
      args: ['sleep', '1002'],
    })
    expect(second).toMatchObject({ ppid: first?.pid, args: ['sleep', '1001'] })
    const { pid = 0, rss = 0 } = second ?? {}
    expect(await readFile(`/proc/${pid}/cmdline`, 'utf8')).toBe('sleep\x001001\x00')
    expect(rss).toBeGreaterThan(0)
  })

  it('cannot be asked for when there are none', async () => {
    await using container = await run('true')
    await container.wait()
    await expect(container.top()).rejects.toEqual(coded('KEELSON_CONTAINER_STATE'))
  })
})

describe('ready', () => {
  it('is when the port listens, with nothing in the image that could tell', async () => {
    await using container = await run('exec nc -l -p 5432')
    await container.ready(wait.port(5432, { host: '127.0.0.1' }))
    await expect(container.ready(wait.port(80), { timeout: 50 })).rejects.toEqual(
      coded('KEELSON_WAIT_TIMEOUT', {
        listening: [
          { protocol: 'tcp', address: expect.stringMatching(/^(::|0\.0\.0\.0)$/), port: 5432 },
        ],
      }),
    )
  })

  it('is when the line was written, of this run and no other', async () => {
    await using container = await run('echo one; echo two >&2; sleep 1000')
    await container.ready(wait.all([wait.log('one'), wait.log(/^two$/, { stream: 'stderr' })]))
    await container.stop({ timeout: 0 })
    const ready = container.ready(wait.log('one', { times: 2 }))
    await expect(ready).rejects.toEqual(
      coded('KEELSON_WAIT_FAILED', { exit: expect.objectContaining({ signal: 'SIGKILL' }) }),
    )
  })

  it('fails with its last words when it ends', async () => {
    await using container = await run('echo cannot open the database >&2; exit 3')
    const failure = container.ready(wait.port(5432))
    await expect(failure).rejects.toEqual(
      coded('KEELSON_WAIT_FAILED', {
        exit: { exitCode: 3, signal: null, oomKilled: false },
        logs: [expect.objectContaining({ stream: 'stderr', text: 'cannot open the database' })],
        message: expect.stringContaining('its last words were "cannot open the database"'),
      }),
    )
    await container.ready(wait.exit({ code: 3 }))
  })

  it('is when its health check says so', async () => {
    await using container = await run('sleep 0.1; touch /tmp/well; sleep 1000', {
      healthcheck: { test: ['CMD', 'stat', '/tmp/well'], interval: 50, retries: 100 },
    })
    await container.ready(wait.healthy())
  })

  it('is when HTTP answers, on whatever network', async () => {
    const answer = "printf 'HTTP/1.0 200 OK\\r\\n\\r\\nwell'"
    await using container = await run(`exec nc -ll -p 8080 -e sh -c "${answer}"`, {
      networks: 'none',
    })
    await container.ready(wait.http({ port: 8080, body: (text) => text === 'well' }))
    await expect(container.ready(wait.http({ port: 81 }), { timeout: 2000 })).rejects.toMatchObject(
      {
        code: 'KEELSON_WAIT_TIMEOUT',
        message: expect.stringContaining('listens on port 81'),
      },
    )
  })

  it("is when HTTP answers on the host's network", async () => {
    const server = createServer((_, answer) => void answer.end('well')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    try {
      await using container = await run('sleep 1000', { networks: 'host' })
      await container.ready(wait.http({ port, body: (text) => text === 'well' }))
    } finally {
      server.close()
    }
  })
})

describe('a connection into the container', () => {
  it('reaches what is published to nobody, both ways, half closed, too', async () => {
    await using container = await run('exec nc -ll -p 7000 -e cat', { networks: 'none' })
    await container.ready(wait.port(7000))
    const sockets = await Promise.all([1, 2, 3].map(() => container.connect(7000)))
    const bytes = Buffer.alloc(1_000_000, 'abcdefg')
    const echoes = sockets.map(async (socket) => {
      socket.end(bytes)
      return Buffer.concat(await socket.toArray())
    })
    for (const echo of await Promise.all(echoes)) expect(echo.equals(bytes)).toBe(true)
  })

  it('ends with the container, and with its signal', async () => {
    await using container = await run('exec nc -ll -p 7000 -e cat')
    await container.ready(wait.port(7000))
    const control = new AbortController()
    const [first, second] = await Promise.all([
      container.connect(7000, { signal: control.signal }),
      container.connect(7000),
    ])
    const closed = once(first, 'close').catch(() => undefined)
    first.on('error', () => undefined)
    control.abort()
    await closed
    second.on('error', () => undefined).resume()
    const ended = once(second, 'close').catch(() => undefined)
    await container.kill()
    await ended
  })

  it('is refused where nobody listens', async () => {
    await using container = await run('sleep 1000')
    await expect(container.connect(7000)).rejects.toEqual(
      coded('KEELSON_CONNECTION_REFUSED', { port: 7000 }),
    )
    await expect(container.connect(0)).rejects.toEqual(coded('KEELSON_INVALID_OPTION'))
    await expect(container.connect(1, { host: 'localhost' })).rejects.toEqual(
      coded('KEELSON_INVALID_OPTION'),
    )
    await container.kill()
    await expect(container.connect(7000)).rejects.toEqual(coded('KEELSON_CONTAINER_STATE'))
  })
})
