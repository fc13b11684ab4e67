import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Engine, wait, type Container } from '../../src/index.ts'
import { scripted, testEngine, type TestEngine } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await testEngine()
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

const first = async (items: AsyncIterable<unknown>) => {
  for await (const item of items) return item
  return undefined
}

/** What goes for one that was removed, or only prepares what is asked for later. */
const OTHERS = ['constructor', 'remove', 'status', 'agent', 'connector']

/** Everything else that a container can be asked for, but for the wait for `removed`. */
const CALLS: Record<string, (container: Container) => unknown> = {
  state: (c) => c.state(),
  inspect: (c) => c.inspect(),
  start: (c) => c.start(),
  stop: (c) => c.stop(),
  kill: (c) => c.kill(),
  restart: (c) => c.restart(),
  pause: (c) => c.pause(),
  unpause: (c) => c.unpause(),
  rename: (c) => c.rename('other-name'),
  update: (c) => c.update({ pids: 10 }),
  exec: (c) => c.exec(['true']),
  spawn: (c) => c.spawn(['true']),
  attach: (c) => c.attach(),
  logs: (c) => first(c.logs()),
  'logs, following': (c) => first(c.logs({ follow: true })),
  wait: (c) => c.wait(),
  'wait for the next exit': (c) => c.wait({ condition: 'next-exit' }),
  'wait until healthy': (c) => c.wait({ condition: 'healthy' }),
  ready: (c) => c.ready(wait.log('x')),
  'ready, ended': (c) => c.ready(wait.exit()),
  port: (c) => c.port(80),
  connect: (c) => c.connect(80),
  createConnection: (c) => once(c.createConnection(80), 'connect'),
  stats: (c) => first(c.stats()),
  top: (c) => c.top(),
  'files.readFile': (c) => c.files.readFile('/etc/passwd'),
  'files.writeFile': (c) => c.files.writeFile('/file', 'x'),
  'files.readdir': (c) => c.files.readdir('/'),
  'files.stat': (c) => c.files.stat('/'),
  'files.mkdir': (c) => c.files.mkdir('/directory'),
  'files.rm': (c) => c.files.rm('/etc/passwd'),
  copyIn: (c) => c.copyIn({ file: Buffer.from('x') }, '/'),
  copyOut: (c) => text(c.copyOut('/etc/passwd')),
  'copyOut to a path': (c) => c.copyOut('/etc/passwd', '/tmp/never-made'),
  diff: (c) => c.diff(),
  commit: (c) => c.commit(),
  export: (c) => text(c.export()),
}

const options = {
  image: '',
  command: ['sleep', '1000'],
  healthcheck: { test: ['CMD', 'true'], interval: 60_000 },
}

describe.each(['this engine', 'another one'])('a container that %s has removed', (by) => {
  let container: Container
  beforeAll(async () => {
    container = await test.engine.containers.run({ ...options, image: test.image })
    if (by === 'this engine') {
      await container.remove({ force: true })
    } else {
      await using other = await Engine.open({ root: test.root, runRoot: test.runRoot })
      await (await other.containers.get(container.id)).remove({ force: true })
    }
  })

  it.each(Object.keys(CALLS))('%s', async (name) => {
    const call = async () => await CALLS[name]?.(container)
    await expect(call()).rejects.toMatchObject({
      code: 'KEELSON_CONTAINER_NOT_FOUND',
      name: 'NotFoundError',
      status: 404,
      container: container.id,
      containerName: container.name,
    })
  })

  it('is what was waited for, and can be removed again', async () => {
    await container.wait({ condition: 'removed' })
    expect(await container.status()).toBe('removing')
    await container.remove()
    await container.remove({ force: true })
    await container[Symbol.asyncDispose]()
  })
})

describe('a container that removes itself', () => {
  it('tells how it ended, however late it is asked', async () => {
    const container = await scripted(test, 'exit 3', { autoRemove: true })
    await container.start()
    await container.wait({ condition: 'removed' })
    expect(await container.wait()).toEqual({ exitCode: 3, signal: null, oomKilled: false })
    await expect(container.wait({ condition: 'next-exit' })).rejects.toMatchObject({
      code: 'KEELSON_CONTAINER_NOT_FOUND',
    })
  })
})

describe('the methods of a container', () => {
  it('are all in the table above', async () => {
    await using container = await test.engine.containers.create({ ...options, image: test.image })
    const known = new Set([...OTHERS, ...Object.keys(CALLS)])
    expect(methodsOf(container).filter((name) => !known.has(name))).toEqual([])
  })
})

/** With those of the classes that its class is made of. */
function methodsOf(object: object): string[] {
  const prototype = Object.getPrototypeOf(object) as object
  if (prototype === Object.prototype) return []
  const own = Object.entries(Object.getOwnPropertyDescriptors(prototype))
  return [
    ...own.filter(([, { value }]) => typeof value === 'function').map(([name]) => name),
    ...methodsOf(prototype),
  ]
}
