import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CreateOptions } from '../../src/index.ts'
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
      again.push(`${event.type} ${event.name}`)
    }
    expect(again).toEqual(['container.create eventful'])
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
