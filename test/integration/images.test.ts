import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Images } from '../../src/image/images.ts'
import { Registry } from '../../src/registry-server/index.ts'
import { acquireLock } from '../../src/store/lock.ts'
import { layer } from '../support/layers.ts'
import { serveImage } from '../support/served-image.ts'
import { openStorage, type Storage } from '../support/storage.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'
import { mounted } from '../support/tree.ts'

let temp: TemporaryDirectory
let storage: Storage
let registry: Registry
let images: Images

beforeEach(async () => {
  temp = await temporaryDirectory()
  storage = await openStorage(temp.path)
  registry = await Registry.listen()
  ;({ images } = storage)
})
afterEach(async () => {
  await registry.close()
  await storage[Symbol.asyncDispose]()
  await temp[Symbol.asyncDispose]()
})

/** Serves and pulls an image of one layer on a common base. */
async function pulled(name: string, config: Record<string, unknown> = {}) {
  const [repository = name, tag = 'latest'] = name.split(':')
  const base = await layer([{ name: 'base', content: 'base' }])
  const own = await layer([{ name: 'own', content: name }])
  await serveImage(registry, repository, tag, { layers: [base, own], config })
  return await images.pull(`${registry.host}/${name}`)
}

const blobs = () => readdir(storage.store.layout.blobs('sha256'))
const snapshots = async () => (await storage.snapshotter.list()).length

test('finds an image by name, id, digest and the first digits of its id', async () => {
  const image = await pulled('app:1')
  const { id, digest } = image
  const full = `${registry.host}/app:1`
  for (const text of [full, id, id.slice(7), digest, id.slice(7, 20), id.slice(0, 20)]) {
    expect((await images.get(text)).id).toBe(id)
  }
  expect((await images.get(`${registry.host}/app@${digest}`)).id).toBe(id)
  await expect(images.get('alpine')).rejects.toMatchObject({ code: 'KEELSON_IMAGE_NOT_FOUND' })
  await expect(images.get('f'.repeat(64))).rejects.toMatchObject({
    code: 'KEELSON_IMAGE_NOT_FOUND',
  })
  await expect(images.get('NOT A NAME')).rejects.toMatchObject({
    code: 'KEELSON_INVALID_REFERENCE',
  })
})

test('says so when digits fit several images', async () => {
  // Seventeen ids and sixteen digits: two begin alike.
  const all = []
  for (let index = 0; index < 17; index++) {
    all.push(await images.from({ '/n': Buffer.from(`${index}`) }, {}, { reference: `n:${index}` }))
  }
  const firsts = all.map((image) => image.id[7])
  const twice = firsts.find((digit, index) => firsts.indexOf(digit) !== index) as string
  await expect(images.get(twice)).rejects.toMatchObject({ code: 'KEELSON_IMAGE_AMBIGUOUS' })
})

test('tells all about an image, and nobody can change it', async () => {
  const image = await pulled('app:1', { Cmd: ['run'], Labels: { a: '1' } })
  const inspected = await image.inspect()
  expect(inspected).toMatchObject({
    id: image.id,
    digest: image.digest,
    references: [`${registry.host}/app:1`],
    platform: { os: 'linux' },
    config: { Cmd: ['run'], Labels: { a: '1' } },
    created: new Date(0),
  })
  expect(inspected.layers).toHaveLength(2)
  expect(inspected.layers.map((each) => each.chainId)).toEqual(image.chain)
  const history = await image.history()
  expect(history.map((step) => [step.createdBy, step.layer])).toEqual(
    inspected.layers.map((each) => ['test', each.digest]),
  )
  expect(() => image.config.config.Cmd?.push('x')).toThrow(TypeError)
  expect(() => Object.assign(image, { id: 'x' })).toThrow(TypeError)
  inspected.config.Cmd?.push('mine')
  expect((await images.get(image.id)).config.config.Cmd).toEqual(['run'])
})

test('lists by name, label and want of a name', async () => {
  await pulled('app:1', { Labels: { stage: 'test' } })
  await pulled('app:2', { Labels: { stage: 'live' } })
  const other = await pulled('team/other:1')
  await other.untag(`${registry.host}/team/other:1`)
  const names = async (filter: Parameters<Images['list']>[0]) =>
    (await images.list(filter)).flatMap((image) =>
      image.references.map((name) => name.replace(`${registry.host}/`, '')),
    )
  expect(new Set(await names({}))).toEqual(new Set(['app:1', 'app:2']))
  expect(await names({ reference: `${registry.host}/app:2` })).toEqual(['app:2'])
  expect(await names({ reference: `${registry.host}/app` })).toHaveLength(2)
  expect(await names({ reference: '*/app:1' })).toEqual(['app:1'])
  expect(await names({ labels: { stage: 'live' } })).toEqual(['app:2'])
  expect(await names({ labels: { stage: true } })).toHaveLength(2)
  const dangling = await images.list({ dangling: true })
  expect(dangling.map((image) => image.id)).toEqual([other.id])
})

test('gives and takes names', async () => {
  const image = await pulled('app:1')
  const named = await image.tag('mine')
  expect(named.references).toEqual([`${registry.host}/app:1`, 'docker.io/library/mine:latest'])
  expect(image.references).toHaveLength(1)
  expect((await images.pull('mine', { policy: 'never' })).id).toBe(image.id)
  const other = await pulled('app:2')
  await other.tag('mine')
  expect((await images.get('mine')).id).toBe(other.id)
  await expect(image.untag('mine')).rejects.toMatchObject({ code: 'KEELSON_IMAGE_NOT_FOUND' })
  await expect(image.tag(`x@${image.digest}`)).rejects.toMatchObject({
    code: 'KEELSON_INVALID_REFERENCE',
  })
  const bare = await image.untag(`${registry.host}/app:1`)
  expect(bare.references).toEqual([])
  expect((await images.get(image.id)).id).toBe(image.id)
})

test('removes an image with all that only it needs', async () => {
  const one = await pulled('app:1')
  const two = await pulled('app:2')
  await one.tag('also')
  expect(await blobs()).toHaveLength(7)
  expect(await snapshots()).toBe(3)
  const removed = await one.remove()
  expect(new Set(removed.untagged)).toEqual(
    new Set([`${registry.host}/app:1`, 'docker.io/library/also:latest']),
  )
  expect(removed.deleted).toHaveLength(3)
  expect(await blobs()).toHaveLength(4)
  expect(await snapshots()).toBe(2)
  await expect(images.get(one.id)).rejects.toMatchObject({ code: 'KEELSON_IMAGE_NOT_FOUND' })
  await expect(one.tag('again')).rejects.toMatchObject({ code: 'KEELSON_IMAGE_NOT_FOUND' })
  await two.remove()
  expect(await blobs()).toEqual([])
  expect(await snapshots()).toBe(0)
})

test('keeps the layers that a running container uses, and those below', async () => {
  const image = await pulled('app:1')
  const { locks } = await storage.snapshotter.prepare('c', image.chain)
  const lock = await acquireLock(storage.launcher, locks[0]?.path ?? '', 'shared')
  await image.remove({ force: true })
  expect(await blobs()).toEqual([])
  expect(await snapshots()).toBe(2)
  await lock.release()
  await images.prune()
  expect(await snapshots()).toBe(0)
})

test('refuses to remove an image that a container was made from', async () => {
  const image = await pulled('app:1')
  const used = new Images({
    ...storage,
    helper: storage.launcher,
    registry: {
      manifest: () => Promise.reject(new Error()),
      blob: () => neverAsked(),
      pushBlob: () => Promise.reject(new Error()),
      pushManifest: () => Promise.reject(new Error()),
    },
    containers: async () => [{ container: 'c1', image: image.descriptor }],
  })
  const same = await used.get(image.id)
  await expect(same.remove()).rejects.toMatchObject({
    code: 'KEELSON_IMAGE_IN_USE',
    containers: ['c1'],
  })
  expect((await used.prune({ all: true })).images).toEqual([])
  await same.remove({ force: true })
  // The container's record still holds what it was made from.
  expect(await blobs()).toHaveLength(4)
})

test('removes the snapshots of another driver, too', async () => {
  const image = await pulled('app:1')
  await using other = await openStorage(temp.path, { driver: 'copy' })
  await other.images.pull(`${registry.host}/app:1`)
  expect((await other.snapshotter.list()).length).toBe(2)
  const removed = await image.remove()
  expect(removed.untagged).toHaveLength(1)
  expect([await snapshots(), (await other.snapshotter.list()).length]).toEqual([0, 0])
  const again = await pulled('app:1')
  await other.images.pull(`${registry.host}/app:1`)
  await again.untag(`${registry.host}/app:1`)
  const pruned = await other.images.prune()
  expect(new Set(pruned.snapshots)).toEqual(new Set(again.chain))
  expect(pruned.snapshots).toHaveLength(2)
  expect([await snapshots(), (await other.snapshotter.list()).length]).toEqual([0, 0])
})

test('prunes images without a name, or all', async () => {
  const one = await pulled('app:1')
  const two = await pulled('app:2')
  await one.untag(`${registry.host}/app:1`)
  const pruned = await images.prune()
  expect(pruned.images.map((image) => image.id)).toEqual([one.id])
  expect(pruned.bytes).toBeGreaterThan(0)
  expect((await images.list()).map((image) => image.id)).toEqual([two.id])
  await images.prune({ all: true })
  expect(await images.list()).toEqual([])
  expect(await blobs()).toEqual([])
})

test('makes images out of values', async () => {
  const files = {
    '/etc/motd': Buffer.from('hello'),
    '/bin/app': { content: Buffer.from('#!/bin/sh'), mode: 0o755 },
  }
  const image = await images.from(files, { Cmd: ['/bin/app'] }, { reference: 'made:1' })
  expect(image.references).toEqual(['docker.io/library/made:1'])
  await using _ = await mounted(storage.snapshotter.view(image.chain), temp.join('mnt'))
  expect(await readFile(temp.join('mnt/etc/motd'), 'utf8')).toBe('hello')
  const same = await images.from(files, { Cmd: ['/bin/app'] })
  expect([same.id, same.references]).toEqual([image.id, image.references])
})

test("makes images out of the host's programs", async () => {
  const image = await images.fromHost(['true'])
  expect(image.references).toEqual([])
  await using _ = await mounted(storage.snapshotter.view(image.chain), temp.join('mnt'))
  expect((await readdir(join(temp.path, 'mnt'))).length).toBeGreaterThan(2)
})

async function* neverAsked(): AsyncGenerator<Uint8Array, void, undefined> {
  yield* []
  throw new Error('the registry was asked')
}
