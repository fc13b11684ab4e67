import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Engine, wait, type Container } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'

// What JavaScript lets through although the types do not: refused by name, at once, and with nothing done.

let host: TestEngine
let container: Container

beforeAll(async () => {
  host = await testEngine()
  container = await host.engine.containers.run({ image: host.image, command: ['sleep', '1000'] })
})
afterAll(async () => {
  await host[Symbol.asyncDispose]()
})

/** As a caller without types would give it. */
const any = (value: unknown): never => value as never
const given = (options: object): never => any({ image: host.image, ...options })

const CALLS: Record<string, () => unknown> = {
  'create()': () => host.engine.containers.create(any(undefined)),
  'create: healthcheck as text': () =>
    host.engine.containers.create(given({ healthcheck: 'true' })),
  'create: healthcheck: null': () => host.engine.containers.create(given({ healthcheck: null })),
  'create: healthcheck mistyped': () =>
    host.engine.containers.create(given({ healthcheck: { tset: ['true'] } })),
  'create: logs mistyped': () => host.engine.containers.create(given({ logs: { maxsize: '1m' } })),
  'create: logs as a function': () => host.engine.containers.create(given({ logs: () => {} })),
  'create: signal': () => host.engine.containers.create(given({ signal: 5 })),
  'get()': () => host.engine.containers.get(any(undefined)),
  'list: mistyped': () => host.engine.containers.list(any({ al: true })),
  'list: filters: null': () => host.engine.containers.list(any({ filters: null })),
  'exec()': () => container.exec(any(undefined)),
  'exec: timeout': () => container.exec(['true'], { timeout: 'soon' }),
  'exec: null': () => container.exec(['true'], any(null)),
  'exec: mistyped': () => container.exec(['true'], any({ usr: 'root' })),
  'exec: env as text': () => container.exec(['true'], { env: any('A=1') }),
  'exec: stdin: true': () => container.exec(['cat'], { stdin: any(true) }),
  'exec: signal': () => container.exec(['true'], { signal: any(5) }),
  'spawn: mistyped': () => container.spawn(['true'], any({ sdtin: false })),
  'spawn: half a size': () => container.spawn(['true'], { tty: any({ columns: 80 }) }),
  'update()': () => container.update(any(undefined)),
  'remove: mistyped': () => container.remove(any({ forse: true })),
  'logs: mistyped': () => container.logs(any({ folow: true })),
  'logs: since': () => container.logs({ since: 'yesterday' }),
  'events: until': () => host.engine.events({ until: any('1h') }),
  'copyIn: number': () => container.copyIn(any(5), '/tmp'),
  'ready()': () => container.ready(any(undefined)),
  'ready: no strategy': () => container.ready(any({})),
  'wait.log()': () => wait.log(any(undefined)),
  'wait.http()': () => wait.http(any(undefined)),
  'wait.all: numbers': () => wait.all(any([5])),
  'wait.until()': () => wait.until(any(undefined)),
}

describe('a bad option is refused', () => {
  it.each(Object.entries(CALLS))('%s', async (_, call) => {
    const refused = expect((async () => await call())()).rejects
    await refused.toMatchObject({ code: 'KEELSON_INVALID_OPTION' })
  })

  it('by a promise where the call returns one', async () => {
    await expect(container.exec(['true'], { maxOutput: 'much' })).rejects.toMatchObject({
      option: 'maxOutput',
    })
  })
})

describe('a closed engine', () => {
  it('ends what waits for its containers, and refuses more', async () => {
    const { root, runRoot, image } = host
    const engine = await Engine.open({ root, runRoot })
    const detached = await engine.containers.run({
      image: await engine.images.get(image.id),
      command: ['sleep', '1000'],
      detached: true,
    })
    const shell = await detached.spawn(['sleep', '1000'])
    const closed = { code: 'KEELSON_CLOSED' }
    const waiting = [
      expect(detached.wait()).rejects.toMatchObject(closed),
      expect(detached.ready(wait.port(1))).rejects.toMatchObject(closed),
      expect(detached.logs({ follow: true }).next()).rejects.toMatchObject(closed),
      expect(shell.wait()).rejects.toMatchObject(closed),
    ]
    await engine.close()
    await Promise.all(waiting)
    await expect(detached.exec(['true'])).rejects.toMatchObject(closed)
    await expect(detached.state()).rejects.toMatchObject(closed)
    const found = await host.engine.containers.get(detached.id)
    expect(await found.status()).toBe('running')
    await found.remove({ force: true })
  })
})
