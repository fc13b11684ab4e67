import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Engine, type EngineEvent, type EventFilters } from '../../src/index.ts'
import { Registry } from '../../src/registry-server/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'

let on: TestEngine
/** Another engine on the same root, as of another program. */
let other: Engine
let registry: Registry

beforeAll(async () => {
  registry = await Registry.listen()
  on = await testEngine({ registries: { [registry.host]: { insecure: true } } })
  other = await Engine.open({ root: on.root, runRoot: on.runRoot })
})
afterAll(async () => {
  await other?.close()
  await on?.[Symbol.asyncDispose]()
  await registry?.close()
})

/** What happens while `work` is done, as the other engine hears it, and as it is read again afterwards. */
async function during(
  work: () => Promise<unknown>,
  filters: EventFilters = {},
): Promise<EngineEvent[]> {
  const since = new Date()
  const live = other.events({ filters })
  await work()
  const again = await collect(on.engine.events({ since, until: new Date(), filters }))
  const heard: EngineEvent[] = []
  if (again.length > 0) {
    for await (const event of live) if (heard.push(event) === again.length) break
  }
  expect(heard).toEqual(again)
  return again
}

async function collect(events: AsyncIterable<EngineEvent>): Promise<EngineEvent[]> {
  const found: EngineEvent[] = []
  for await (const event of events) found.push(event)
  return found
}

it('of images are told: how they came, their names, how they went', async () => {
  const { engine } = on
  const { host } = registry
  const name = `${host}/app:1`
  let id = ''
  const events = await during(async () => {
    const files = { '/file': Buffer.from('content') }
    const image = await engine.images.from(
      files,
      { Labels: { team: 'a' } },
      { reference: 'made:1' },
    )
    id = image.id
    const tagged = await image.tag(name)
    await tagged.push(name)
    const archive = await buffer(tagged.save([name]))
    await tagged.untag(name)
    await image.remove()
    await engine.images.pull(name)
    // It is here: nothing happens.
    const pulled = await engine.images.pull(name)
    await pulled.remove()
    const [loaded] = await engine.images.load(archive)
    await loaded?.untag(name)
    await engine.images.prune()
  })
  expect(events).toMatchObject([
    { type: 'image.create', references: ['docker.io/library/made:1'] },
    { type: 'image.tag', reference: name },
    { type: 'image.push', reference: name },
    { type: 'image.untag', reference: name },
    { type: 'image.remove', references: ['docker.io/library/made:1'] },
    { type: 'image.pull', reference: name },
    { type: 'image.remove', references: [name] },
    { type: 'image.load', references: [name] },
    { type: 'image.untag', reference: name },
    // The image of the test's own containers has no name, and goes with it.
    { type: 'image.remove' },
    { type: 'image.remove' },
    { type: 'image.prune', images: expect.arrayContaining([id]), bytes: expect.any(Number) },
  ])
  const about = events.filter((event) => 'digest' in event && event.image === id)
  expect(about).toHaveLength(10)
  for (const event of about) {
    expect(event).toMatchObject({
      digest: expect.stringMatching(/^sha256:/),
      labels: { team: 'a' },
      time: expect.any(Date),
    })
  }
})

it('of what is imported and committed are told', async () => {
  const { engine } = on
  const { image } = await anImage()
  await using container = await engine.containers.create({ image })
  const events = await during(
    async () => {
      const imported = await engine.images.import(container.export(), { reference: 'imported:1' })
      const committed = await container.commit({ reference: 'committed:1' })
      await imported.remove()
      await committed.remove()
    },
    { type: 'image' },
  )
  expect(events).toMatchObject([
    { type: 'image.import', references: ['docker.io/library/imported:1'] },
    { type: 'image.create', references: ['docker.io/library/committed:1'] },
    { type: 'image.remove' },
    { type: 'image.remove' },
  ])
})

it('of volumes are told, whoever makes and removes them', async () => {
  const { engine } = on
  const { image } = await anImage()
  const events = await during(
    async () => {
      const data = await engine.volumes.create({ name: 'data', labels: { app: 'shop' } })
      const copy = await data.clone('copy')
      const mounts = ['named:/a', '/b']
      const container = await engine.containers.create({ image, mounts })
      await container.remove({ volumes: true })
      await copy.remove()
      // It is gone: nothing happens.
      await copy.remove()
      await engine.volumes.prune({ all: true, filters: { name: 'named' } })
    },
    { type: 'volume' },
  )
  const labels = { app: 'shop' }
  const anonymous = expect.stringMatching(/^[0-9a-f]{64}$/) as string
  expect(events.filter(({ type }) => type === 'volume.create')).toMatchObject([
    { volume: 'data', driver: 'local', labels },
    { volume: 'copy', labels },
    { volume: 'named' },
    { volume: anonymous },
  ])
  expect(events.filter(({ type }) => type === 'volume.remove')).toEqual(
    expect.arrayContaining(
      ['copy', 'named', anonymous].map((volume) => expect.objectContaining({ volume })),
    ),
  )
  expect(events.filter(({ type }) => type === 'volume.prune')).toMatchObject([
    { volumes: ['named'] },
  ])
})

it('of networks are told', async () => {
  const { engine } = on
  const events = await during(async () => {
    const network = await engine.networks.create({ name: 'backend', labels: { tier: 'db' } })
    await network.remove()
    await network.remove()
    await engine.networks.create({ name: 'unused' })
    await engine.networks.prune({ filters: { name: 'unused' } })
  })
  const about = { name: 'backend', driver: 'bridge', labels: { tier: 'db' } }
  expect(events).toMatchObject([
    { type: 'network.create', network: expect.stringMatching(/^[0-9a-f]{64}$/), ...about },
    { type: 'network.remove', ...about },
    { type: 'network.create', name: 'unused' },
    { type: 'network.remove', name: 'unused' },
    { type: 'network.prune', networks: ['unused'] },
  ])
})

it('are chosen by kind, object and label', async () => {
  const { engine } = on
  const { image } = await anImage()
  // Later than what has made the image.
  const since = new Date(Date.now() + 1)
  await (await image.tag('chosen:1')).untag('chosen:1')
  const volume = await engine.volumes.create({ name: 'chosen', labels: { mine: 'yes' } })
  const network = await engine.networks.create({ name: 'chosen', labels: { mine: 'yes' } })
  const container = await engine.containers.create({
    image,
    name: 'chosen',
    labels: { mine: 'no' },
  })
  await container.remove()
  await network.remove()
  await volume.remove()
  const types = async (filters: EventFilters) =>
    (await collect(engine.events({ since, until: new Date(), filters }))).map(({ type }) => type)
  expect(await types({ type: 'image' })).toEqual(['image.tag', 'image.untag'])
  expect(await types({ type: ['network.create', 'volume'] })).toEqual([
    'volume.create',
    'network.create',
    'volume.remove',
  ])
  expect(await types({ container: 'chosen' })).toEqual(made('container'))
  expect(await types({ network: 'chosen' })).toEqual(made('network'))
  expect(await types({ network: network.id.slice(0, 12) })).toEqual(made('network'))
  expect(await types({ volume: 'chosen' })).toEqual(made('volume'))
  expect(await types({ image: 'chosen:1' })).toEqual(['image.tag', 'image.untag'])
  expect(await types({ image: image.digest })).toEqual([
    'image.tag',
    'image.untag',
    ...made('container'),
  ])
  expect(await types({ label: 'mine=yes' })).toEqual([
    'volume.create',
    'network.create',
    'network.remove',
    'volume.remove',
  ])
  for (const filters of [{ kind: 'image' }, { type: 'images' }, { image: 5 }, 'image'] as never[]) {
    expect(() => engine.events({ filters })).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'filters' }),
    )
  }
})

it('reach listeners of every engine, once', async () => {
  const { image } = await anImage()
  const heard: string[] = []
  const done = new Promise<void>((resolve) => {
    for (const [name, engine] of [
      ['one', on.engine],
      ['other', other],
    ] as const) {
      engine.on('image.tag', ({ reference }) => heard.push(`${name} ${reference}`))
      engine.on('volume.remove', ({ volume }) => {
        heard.push(`${name} ${volume}`)
        if (heard.length === 4) resolve()
      })
    }
  })
  await image.tag('heard:1')
  await (await on.engine.volumes.create({ name: 'heard' })).remove()
  await done
  expect(heard.toSorted()).toEqual([
    'one docker.io/library/heard:1',
    'one heard',
    'other docker.io/library/heard:1',
    'other heard',
  ])
})

/** One of its own: a test before may have pruned those without a name. */
async function anImage() {
  const image = await on.engine.images.from({ '/file': Buffer.from('x') }, { Cmd: ['/file'] })
  return { image }
}

const made = (kind: string) => [`${kind}.create`, `${kind}.remove`]
