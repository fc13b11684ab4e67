import { afterAll, beforeAll, expect, test } from 'vitest'
import { Registry, type RegistryRequest } from '../../src/registry-server/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'

let on: TestEngine
let registry: Registry
const asked: RegistryRequest[] = []

beforeAll(async () => {
  registry = await Registry.listen({
    intercept: (request) => {
      asked.push(request)
      return undefined
    },
  })
  const { host } = registry
  on = await testEngine({
    registries: { 'docker.io': { mirrors: [host] }, [host]: { insecure: true } },
  })
})
afterAll(async () => {
  await on?.[Symbol.asyncDispose]()
  await registry?.close()
})

const NO_ID = 'f'.repeat(64)

test('the id of an image that is here stands for it, and no registry is asked', async () => {
  const { engine, image } = on
  const digits = image.id.slice('sha256:'.length)
  for (const id of [image.id, digits, digits.slice(0, 12), image.id.slice(0, 20), image.digest]) {
    expect((await engine.run(id, ['echo', 'hello'])).stdout).toBe('hello\n')
    await using container = await engine.containers.run({ image: id, command: ['sleep', '100'] })
    expect((await container.inspect()).image).toMatchObject({ id: image.id, reference: image.id })
    expect((await engine.images.pull(id, { policy: 'always' })).id).toBe(image.id)
  }
  const { stdout } = await engine.run(image, ['cat', '/image/etc/plain'], {
    mounts: [{ type: 'image', source: digits.slice(0, 12), target: '/image' }],
  })
  expect(stdout).toBe('not a program')
  expect(asked).toEqual([])
})

test('a container made by id is known by its image’s name', async () => {
  const { engine, image } = on
  const named = await image.tag('named:1')
  await using container = await engine.containers.create({ image: image.id })
  expect(container.image).toBe('docker.io/library/named:1')
  expect(await engine.containers.list({ all: true, filters: { ancestor: 'named:1' } })).toEqual([
    container,
  ])
  await named.untag('named:1')
})

test('an id of nothing is not found, and no registry is asked', async () => {
  const { engine } = on
  for (const image of [NO_ID, `sha256:${NO_ID}`, `sha256:${NO_ID.slice(0, 12)}`]) {
    const missing = { code: 'KEELSON_IMAGE_NOT_FOUND' }
    await expect(engine.run(image, ['true'])).rejects.toMatchObject(missing)
    await expect(engine.containers.create({ image })).rejects.toMatchObject(missing)
    await expect(engine.images.pull(image, { policy: 'never' })).rejects.toMatchObject(missing)
  }
  expect(asked).toEqual([])
})

test('what could be a name is one when no id begins so, or an image is called that', async () => {
  const { engine, image } = on
  const name = NO_ID.slice(0, 12)
  await expect(engine.run(name, ['true'])).rejects.toThrow()
  expect(asked.splice(0)).not.toEqual([])
  const other = await engine.images.from({ '/file': Buffer.from('x') })
  const digits = other.id.slice('sha256:'.length, 'sha256:'.length + 12)
  await image.tag(digits)
  expect((await engine.images.pull(digits)).id).toBe(image.id)
  expect(asked).toEqual([])
})

test('an image for another platform is refused by its id, too', async () => {
  const { engine, image } = on
  const wanted = { image: image.id, platform: 'linux/s390x' }
  await expect(engine.containers.create(wanted)).rejects.toMatchObject({
    code: 'KEELSON_PLATFORM_NOT_FOUND',
  })
})

test('what no registry could know is refused before one is asked', async () => {
  const { engine } = on
  const wrong = [{ platform: 'bogus' }, { platform: 'linux/' }, { platform: 5 }, { pull: 'often' }]
  for (const options of wrong as object[]) {
    const refused = { code: 'KEELSON_INVALID_OPTION', option: Object.keys(options)[0] }
    const create = engine.containers.create({ image: 'app:1', ...options })
    await expect(create).rejects.toMatchObject(refused)
    await expect(engine.run('app:1', ['true'], options)).rejects.toMatchObject(refused)
  }
  for (const image of [undefined, {}, 5, null] as unknown as string[]) {
    const refused = { code: 'KEELSON_INVALID_OPTION', option: 'image' }
    await expect(engine.containers.create({ image })).rejects.toMatchObject(refused)
    await expect(engine.run(image, ['true'])).rejects.toMatchObject(refused)
  }
  expect(asked).toEqual([])
})
