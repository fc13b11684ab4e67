import { readFile, readdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text as read } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { wait, type CreateOptions, type ListOptions, type LogEntry } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await testEngine()
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

const coded = (code: string, fields: object = {}) => expect.objectContaining({ code, ...fields })
const create = (options: Partial<CreateOptions> = {}) =>
  test.engine.containers.create({ image: test.image, command: ['sleep', '1000'], ...options })

describe('created containers', () => {
  it('are found by name, id and the first digits of their id, and not after their removal', async () => {
    const container = await create({ name: 'found', labels: { a: '1' } })
    const { containers } = test.engine
    expect(container).toMatchObject({ name: 'found', labels: { a: '1' }, detached: false })
    for (const name of ['found', '/found', container.id, container.id.slice(0, 12)]) {
      expect((await containers.get(name)).id).toBe(container.id)
    }
    expect(await container.status()).toBe('created')
    await container.remove()
    await expect(containers.get('found')).rejects.toEqual(coded('KEELSON_CONTAINER_NOT_FOUND'))
    await expect(container.start()).rejects.toEqual(coded('KEELSON_CONTAINER_NOT_FOUND'))
    await container.remove()
  })

  it('have names of their own', async () => {
    await using first = await create({ name: 'taken' })
    await expect(create({ name: 'taken' })).rejects.toEqual(
      coded('KEELSON_NAME_IN_USE', { container: first.id }),
    )
    await using other = await create()
    expect(other.name).toMatch(/^[a-z]+_[a-z]+$/)
    await expect(other.rename('taken')).rejects.toEqual(coded('KEELSON_NAME_IN_USE'))
    await first.rename('moved')
    await other.rename('taken')
    expect((await test.engine.containers.get('taken')).id).toBe(other.id)
    expect((await test.engine.containers.get('moved')).id).toBe(first.id)
  })

  it('leave nothing behind', async () => {
    const container = await create({ detached: true })
    await container.remove()
    await test.engine.containers.prune()
    await expect
      .poll(() => readdir(join(test.root, 'containers')))
      .toEqual(expect.not.arrayContaining([expect.stringContaining(container.id)]))
    await expect
      .poll(() => readdir(join(test.root, 'snapshots', 'overlay', 'containers')))
      .toEqual([])
  })

  it('tell the options by which their like is made', async () => {
    const { engine } = test
    const image = await test.image.tag('like:1')
    await using first = await engine.containers.run({
      image: 'like:1',
      name: 'first',
      command: ['sleep', '1000'],
      env: { A: '1', B: undefined },
      mounts: ['kept:/kept', '/anonymous', { type: 'tmpfs', target: '/memory', size: '1m' }],
      ports: [80],
      memory: '64m',
      ulimits: { nofile: 100 },
      extraHosts: ['db.test:192.0.2.1'],
      stopSignal: 'USR1',
      healthcheck: { test: 'true', interval: '1h' },
      restart: 'on-failure:2',
      labels: { made: 'first' },
    })
    await image.untag('like:1')
    const { options, image: asked, mounts } = await first.inspect()
    expect(asked.reference).toBe('like:1')
    // It can be kept as a document, too.
    await using second = await engine.containers.run(structuredClone(options))
    const like = await second.inspect()
    expect(like.options).toEqual(options)
    expect(like.image.id).toBe(image.id)
    expect(like).toMatchObject({ command: ['sleep', '1000'], labels: { made: 'first' } })
    expect(second.name).not.toBe('first')
    // Volumes that have a name are shared, those without are each one's own.
    expect(like.mounts).toMatchObject([
      { type: 'volume', source: 'kept', anonymous: false },
      { type: 'volume', source: expect.stringMatching(/^[0-9a-f]{64}$/), anonymous: true },
      { type: 'tmpfs', target: '/memory' },
    ])
    expect(like.mounts[1]?.source).not.toBe(mounts[1]?.source)
    await second.update({ memory: '32m', memorySwap: '64m' })
    expect((await second.inspect()).options).toEqual({
      ...options,
      memory: 32 * 2 ** 20,
      memorySwap: 64 * 2 ** 20,
    })
  })

  it('are checked before anything is made', async () => {
    for (const options of [
      { name: 'x' },
      { restart: 'sometimes' },
      { stopSignal: 'SIGNOT' },
      { autoRemove: true, restart: 'always' },
      { memory: '1k' },
      { nonsense: 1 },
    ]) {
      await expect(create(options as Partial<CreateOptions>)).rejects.toEqual(
        coded('KEELSON_INVALID_OPTION'),
      )
    }
    await expect(create({ user: 'nobody-knows' })).rejects.toEqual(coded('KEELSON_USER_NOT_FOUND'))
    expect(await test.engine.containers.list({ all: true })).toEqual([])
  })
})

describe('events', () => {
  it('are heard while they happen and read again later, with filters', async () => {
    const { engine } = test
    const live = engine.events({ filters: { label: 'events=yes' } })
    const heard = new Promise((resolve) => engine.on('container.rename', resolve))
    const container = await create({ name: 'eventful', labels: { events: 'yes' } })
    await create({ name: 'other' }).then((other) => other.remove())
    await container.rename('eventual')
    await container.remove()
    const types: string[] = []
    for await (const event of live) {
      types.push(event.type)
      if (event.type === 'container.remove') break
    }
    expect(types).toEqual(['container.create', 'container.rename', 'container.remove'])
    expect(await heard).toMatchObject({ name: 'eventual', oldName: 'eventful' })
    const again: string[] = []
    const filters = { container: container.id, type: 'container.create' }
    for await (const event of engine.events({ since: '1m', until: new Date(), filters })) {
      again.push(`${event.type} ${'name' in event ? event.name : ''}`)
    }
    expect(again).toEqual(['container.create eventful'])
  })

  it('that there are not are refused', () => {
    const { engine } = test
    const refused = coded('KEELSON_INVALID_OPTION', { option: 'event' })
    // @ts-expect-error There is no such event.
    expect(() => engine.on('container.bogus', () => {})).toThrow(refused)
    // @ts-expect-error There is no such event.
    expect(() => engine.on('container.exits', () => {})).toThrow(/Did you mean|no event/)
    expect(() => engine.on('container.exit', 'x' as never)).toThrow(
      coded('KEELSON_INVALID_OPTION', { option: 'listener' }),
    )
  })

  it('tell of what engine.run runs', async () => {
    const { engine, image } = test
    const live = engine.events()
    await engine.run(image, ['true'])
    const seen: object[] = []
    for await (const event of live) if (seen.push(event) === 3) break
    expect(seen).toMatchObject([
      { type: 'container.start', image: image.digest },
      { type: 'container.exit', exitCode: 0 },
      { type: 'container.remove' },
    ])
  })
})

describe('running containers', () => {
  it('start, end and start again', async () => {
    await using container = await create({ command: ['sh', '-c', 'echo x >> /count; exit 3'] })
    expect(await container.wait()).toMatchObject({ exitCode: null })
    await container.start()
    expect(await container.wait()).toEqual({ exitCode: 3, signal: null, oomKilled: false })
    expect(await container.state()).toMatchObject({ status: 'exited', pid: 0, exitCode: 3 })
    const next = container.wait({ condition: 'next-exit' })
    await container.start()
    expect(await next).toMatchObject({ exitCode: 3 })
    await container.start()
    await container.wait()
  })

  it('are stopped by their signal, or killed when it does not help', async () => {
    const script = 'trap "exit 5" USR1; echo ready; while :; do sleep 0.01; done'
    await using container = await test.engine.containers.run({
      image: test.image,
      command: ['sh', '-c', script],
      stopSignal: 'SIGUSR1',
    })
    expect(await container.state()).toMatchObject({ status: 'running' })
    // Process 1 hears of signals only once it has said what it does with them.
    for await (const { text } of container.logs({ follow: true })) if (text === 'ready') break
    await container.stop()
    expect(await container.state()).toMatchObject({ status: 'exited', exitCode: 5, stopped: true })
    await container.stop()
    await using deaf = await test.engine.containers.run({
      image: test.image,
      command: ['sleep', '1000'],
      stopTimeout: 10,
    })
    // As process 1 it does not hear what it has not asked for.
    await deaf.stop()
    expect(await deaf.state()).toMatchObject({ status: 'exited', signal: 'SIGKILL' })
  })

  it('are killed at once where they get no time to stop', async () => {
    const script = 'trap "echo asked; exit 5" TERM; echo ready; while :; do sleep 0.01; done'
    const command = ['sh', '-c', script]
    await using container = await create({ command })
    await using hasty = await create({ command, stopTimeout: 0 })
    for (const each of [container, hasty]) {
      await each.start()
      await each.ready(wait.log('ready'))
      await each.stop(each === container ? { timeout: 0 } : {})
      expect(await each.state()).toMatchObject({ status: 'exited', signal: 'SIGKILL' })
      const said: string[] = []
      for await (const { text } of each.logs()) said.push(text)
      expect(said).toEqual(['ready'])
    }
    await container.start()
    await container.pause()
    await container.stop({ timeout: 0 })
    expect(await container.state()).toMatchObject({ status: 'exited', signal: 'SIGKILL' })
  })

  it('are paused and go on', async () => {
    await using container = await test.engine.containers.run({
      image: test.image,
      command: ['sleep', '1000'],
    })
    await container.pause()
    expect(await container.status()).toBe('paused')
    await expect(container.pause()).rejects.toEqual(
      coded('KEELSON_CONTAINER_STATE', { containerStatus: 'paused', action: 'pause' }),
    )
    await container.unpause()
    expect(await container.status()).toBe('running')
    await expect(container.unpause()).rejects.toEqual(coded('KEELSON_CONTAINER_STATE'))
    await expect(container.start()).rejects.toEqual(coded('KEELSON_CONTAINER_STATE'))
    await expect(container.remove()).rejects.toEqual(coded('KEELSON_CONTAINER_STATE'))
    const { pid } = await container.state()
    await container.restart({ timeout: 0 })
    expect((await container.state()).pid).not.toBe(pid)
    await container.kill()
    expect(await container.status()).toBe('exited')
    await expect(container.kill()).rejects.toEqual(coded('KEELSON_CONTAINER_STATE'))
  })

  it('are started again by their policy, and not after a stop', async () => {
    await using container = await test.engine.containers.run({
      image: test.image,
      command: ['false'],
      restart: 'on-failure:2',
    })
    expect(await container.wait()).toMatchObject({ exitCode: 1 })
    expect(await container.state()).toMatchObject({ status: 'exited', restartCount: 2 })
  })

  it('tell a health check, and wait for it', async () => {
    await using container = await test.engine.containers.run({
      image: test.image,
      command: ['sh', '-c', 'sleep 0.2; touch /well; sleep 1000'],
      healthcheck: { test: 'test -e /well || [ -e /well ]', interval: 50, startInterval: 50 },
    })
    await container.wait({ condition: 'healthy' })
    expect((await container.state()).health).toMatchObject({ status: 'healthy', failingStreak: 0 })
  })

  it('are removed when they have ended, if they should', async () => {
    const container = await test.engine.containers.run({
      image: test.image,
      command: ['sh', '-c', 'exit 4'],
      autoRemove: true,
    })
    await container.wait({ condition: 'removed' })
    await expect(test.engine.containers.get(container.id)).rejects.toEqual(
      coded('KEELSON_CONTAINER_NOT_FOUND'),
    )
    await expect
      .poll(() => readdir(join(test.root, 'containers/names')))
      .not.toContain(container.name)
  })

  it('write their log to a function, every line of it', async () => {
    const seen: string[] = []
    const driver = async ({ stream, text, partial }: LogEntry) => {
      await Promise.resolve()
      seen.push(`${stream} ${text}${partial ? '...' : ''}`)
    }
    await using container = await test.engine.containers.run({
      image: test.image,
      command: ['sh', '-c', 'seq 1 20000; echo bad >&2; echo -n end'],
      logs: { driver },
    })
    await container.wait()
    const out = seen.filter((line) => line.startsWith('stdout'))
    expect(out).toHaveLength(20001)
    expect(out.at(-1)).toBe('stdout end...')
    expect(seen).toContain('stderr bad')
    await expect(create({ logs: { driver }, detached: true })).rejects.toEqual(
      coded('KEELSON_INVALID_OPTION', { option: 'logs' }),
    )
  })

  it('that cannot be started say why, and leave nothing with run()', async () => {
    const name = 'never'
    const options = { image: test.image, command: ['no-such-program'], name }
    await expect(test.engine.containers.run(options)).rejects.toEqual(
      coded('KEELSON_COMMAND_NOT_FOUND'),
    )
    await using container = await test.engine.containers.create(options)
    await expect(container.start()).rejects.toEqual(coded('KEELSON_COMMAND_NOT_FOUND'))
    expect(await container.status()).toBe('created')
    await expect(container.start()).rejects.toEqual(coded('KEELSON_COMMAND_NOT_FOUND'))
  })

  it('are limited anew while they run', async () => {
    await using container = await test.engine.containers.run({
      image: test.image,
      command: ['sleep', '1000'],
      memory: '64m',
    })
    await container.update({ memory: '32m', memorySwap: '32m', pids: 50, restart: 'always' })
    const { options, runtime } = await container.inspect()
    expect(options).toMatchObject({ memory: 32 * 1024 * 1024, restart: { policy: 'always' } })
    const { v2, v1 } = runtime.keelson.cgroups
    const limit = v1?.['memory']
      ? join(v1['memory'], 'memory.limit_in_bytes')
      : join(v2 ?? '', 'memory.max')
    expect((await readFile(limit, 'utf8')).trim()).toBe(String(32 * 1024 * 1024))
  })

  it('are stopped or killed in the moment of their end', async () => {
    const ending = Array.from({ length: 8 }, async (_, index) => {
      await using container = await test.engine.containers.run({
        image: test.image,
        command: ['nc', '-l', '-p', '80', '-e', 'echo', 'hello'],
      })
      await container.ready(wait.port(80))
      expect(await read(await container.connect(80))).toBe('hello\n')
      if (index % 2 === 0) return await container.stop()
      await container.kill().catch((error: unknown) => {
        expect(error).toEqual(coded('KEELSON_CONTAINER_STATE'))
      })
    })
    await Promise.all(ending)
  })

  it('say where their published ports are reached', async () => {
    await using container = await test.engine.containers.run({
      image: test.image,
      command: ['nc', '-ll', '-p', '80', '-e', 'echo', 'hello'],
      ports: [80, { container: 53, protocol: 'udp', hostIp: '127.0.0.2' }],
    })
    await container.ready(wait.port(80))
    const { host, port } = await container.port(80)
    expect(await read(connect(port, host))).toBe('hello\n')
    const { ports } = await container.inspect()
    expect(ports).toContainEqual(
      expect.objectContaining({ container: 80, host: port, protocol: 'tcp' }),
    )
    expect(await container.port(53, { protocol: 'udp' })).toEqual({
      host: '127.0.0.2',
      port: expect.any(Number),
    })
    for (const wrong of [81, 53, 0, 70_000, '80' as never]) {
      await expect(container.port(wrong)).rejects.toEqual(coded('KEELSON_INVALID_OPTION'))
    }
    await container.kill()
    await expect(container.port(80)).rejects.toEqual(coded('KEELSON_CONTAINER_STATE'))
  })

  it('are listed by what they are', async () => {
    const { containers } = test.engine
    const run = (name: string, labels: Record<string, string>) =>
      containers.run({ image: test.image, command: ['sleep', '1000'], name, labels })
    await using one = await run('list-one', { tier: 'web', env: 'test' })
    await using two = await run('list-two', { tier: 'db' })
    await using idle = await create({ name: 'list-idle' })
    const names = async (options: ListOptions) =>
      (await containers.list(options)).map(({ name }) => name).sort()
    expect(await names({})).toEqual(['list-one', 'list-two'])
    expect(await names({ all: true })).toEqual(['list-idle', 'list-one', 'list-two'])
    expect(await names({ filters: { label: 'tier=web' } })).toEqual(['list-one'])
    expect(await names({ filters: { label: ['tier'] } })).toEqual(['list-one', 'list-two'])
    expect(await names({ filters: { status: 'created' } })).toEqual(['list-idle'])
    expect(await names({ filters: { name: 'two' } })).toEqual(['list-two'])
    expect(await names({ all: true, filters: { id: [idle.id.slice(0, 9)] } })).toEqual([idle.name])
    expect(await names({ filters: { ancestor: test.image.id } })).toEqual([one.name, two.name])
    expect(await containers.prune()).toEqual({ containers: [idle.id] })
  })

  it('tell what happens to them', async () => {
    const live = test.engine.events({ filters: { container: 'story' } })
    const container = await create({ name: 'story' })
    await container.start()
    await container.pause()
    await container.unpause()
    await container.kill()
    await container.remove()
    const types: string[] = []
    for await (const event of live) {
      types.push(event.type.slice('container.'.length))
      if (event.type === 'container.remove') break
    }
    expect(types).toEqual(['create', 'start', 'pause', 'unpause', 'exit', 'kill', 'remove'])
  })

  it('keep their image', async () => {
    await using container = await create()
    await expect(test.image.remove()).rejects.toEqual(
      coded('KEELSON_IMAGE_IN_USE', { containers: [container.id] }),
    )
    await test.engine.images.prune({ all: true })
    await container.start()
  })
})
