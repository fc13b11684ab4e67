import { lstat, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, describe, beforeEach, afterEach } from 'vitest'
import { chainIds } from '../../src/oci/chain-id.ts'
import type { Digest } from '../../src/oci/digest.ts'
import type { LayerSource } from '../../src/snapshot/snapshotter.ts'
import { acquireLock } from '../../src/store/lock.ts'
import { layer, type TarEntry, type TestLayer } from '../support/layers.ts'
import { RICH_LAYERS } from '../support/rich-layers.ts'
import { openStorage, type Driver, type Storage } from '../support/storage.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'
import { describeTree, mounted } from '../support/tree.ts'

const layersOf = (entries: TarEntry[][]) => Promise.all(entries.map((each) => layer(each)))

const find = (lines: string[], path: string) => lines.find((line) => line.startsWith(`${path} `))

/** What every driver must do. */
describe.each<Driver>(['overlay', 'copy'])('the %s snapshotter', (driver) => {
  let temp: TemporaryDirectory
  let storage: Storage
  let directory: string

  beforeEach(async () => {
    temp = await temporaryDirectory()
    storage = await openStorage(temp.path, { driver })
    directory = temp.join('snapshots', driver)
  })
  afterEach(async () => {
    await storage[Symbol.asyncDispose]()
    await temp[Symbol.asyncDispose]()
  })

  /** Unpacks all at once, as a pull does. */
  async function unpack(
    layers: TestLayer[],
    options: { signal?: AbortSignal; onProgress?: (read: number) => void } = {},
  ): Promise<Digest[]> {
    const chain = chainIds(layers.map((each) => each.diffId))
    let below: Promise<unknown> = Promise.resolve()
    const all = layers.map(async (each, index) => {
      const blob = temp.join(each.digest)
      await writeFile(blob, each.bytes)
      const task: LayerSource = {
        chainId: chain[index] as Digest,
        parents: chain.slice(0, index),
        diffId: each.diffId,
        blob,
        size: each.bytes.length,
        compression: each.mediaType.endsWith('gzip') ? 'gzip' : 'none',
        parentsReady: below,
      }
      return { task, blob }
    })
    const works: Promise<void>[] = []
    for (const each of await Promise.all(all)) {
      const work = storage.snapshotter.unpack({ ...each.task, parentsReady: below }, options)
      below = Promise.all([below, work])
      below.catch(() => undefined)
      works.push(work)
    }
    await Promise.all(works)
    return chain
  }

  async function tree(chain: Digest[]): Promise<string[]> {
    const at = temp.join('mnt')
    await using _ = await mounted(storage.snapshotter.view(chain), at)
    return await describeTree(at)
  }

  test('stacks layers to the tree that they mean', async () => {
    const lines = await tree(await unpack(await layersOf(RICH_LAYERS)))
    const paths = lines.map((line) => line.split(' ', 1)[0])
    expect(paths.join(' ')).toBe(
      '. ./bin ./bin/noted ./bin/ping ./bin/su ./dev ./dev/fifo ./dev/null ' +
        './etc ./etc/base ./etc/more ./etc/third ./etc/twin ./gone ./gone/a ./gone/b ' +
        './hidden ./hidden/new ./kind ./kind/directory ./kind/file ./kind/file/inside ./kind/link',
    )
    expect(find(lines, '.')).toBe('. 40000 711 7:8 1000000000000000000')
    // Implied by the second layer, described by the first.
    expect(find(lines, './etc')).toContain('40000 750 5:6')
    expect(find(lines, './hidden')).toContain('40000 755 0:0 1500000000000000000')
    expect(find(lines, './bin/ping')).toContain(' 1300000002123456789 ')
    expect(find(lines, './bin/ping')).toContain(
      'security.capability=0x0100000200200000000000000000000000000000',
    )
    expect(find(lines, './bin/noted')).toContain('user.note=0x000102ff0a3d')
    expect(find(lines, './bin/su')).toContain('120000 777 0:0 1600000001000000000 ping')
    expect(find(lines, './dev/null')).toContain('20000 666 0:0')
    expect(find(lines, './etc/third')).toContain(find(lines, './etc/base')?.split(' ')[5])
    expect(find(lines, './kind/directory')).toContain('100000')
  })

  test('shows each snapshot as it was, however many stand on it', async () => {
    const layers = await layersOf(RICH_LAYERS)
    const chain = await unpack(layers)
    const first = await tree(chain.slice(0, 1))
    expect(find(first, './gone/a')).toBeDefined()
    expect(find(first, './hidden/below/old')).toBeDefined()
    expect(find(first, `./tmp/${'n'.repeat(200)}`)).toBeDefined()
    expect(find(first, './bin/su')).toContain('100000 4755')
    const second = await tree(chain.slice(0, 2))
    expect(find(second, './gone/a')).toBeUndefined()
    expect(find(second, './tmp/größe')).toBeDefined()
  })

  test('makes writable layers that begin as the image and end without a trace in it', async () => {
    const chain = await unpack(await layersOf(RICH_LAYERS))
    const before = await tree(chain)
    const { rootfs, remove } = await storage.snapshotter.prepare('one', chain)
    {
      const at = temp.join('rw')
      await using _ = await mounted(rootfs, at)
      expect(await describeTree(at, { directoryTimes: false })).toEqual(
        withoutDirectoryTimes(before),
      )
      const root = await lstat(at)
      expect([root.mode & 0o7777, root.uid, root.gid]).toEqual([0o711, 7, 8])
      await writeFile(join(at, 'etc/base'), 'changed')
      await mkdir(join(at, 'new'))
    }
    expect(await tree(chain)).toEqual(before)
    await storage.launcher.request('tree.remove', { paths: remove })
    await expect(lstat(remove[0] as string)).rejects.toThrow('ENOENT')
  })

  test('gives an image without layers an empty root', async () => {
    const { rootfs } = await storage.snapshotter.prepare('empty', [])
    await using _ = await mounted(rootfs, temp.join('rw'))
    expect(await describeTree(temp.join('rw'), { directoryTimes: false })).toEqual([
      '. 40000 755 0:0',
    ])
    expect(await tree([])).toHaveLength(1)
  })

  test('gives the root of an image that says nothing of it mode 0755, whatever the umask', async () => {
    const umask = process.umask(0o077)
    try {
      const chain = await unpack(await layersOf([[{ name: 'a', content: 'a' }]]))
      expect((await tree(chain))[0]).toContain('. 40000 755 0:0')
      const { rootfs } = await storage.snapshotter.prepare('umask', chain)
      await using _ = await mounted(rootfs, temp.join('rw'))
      expect((await lstat(temp.join('rw'))).mode & 0o7777).toBe(0o755)
    } finally {
      process.umask(umask)
    }
  })

  test('refuses a layer that is not what the configuration says, and keeps nothing of it', async () => {
    const honest = await layer([{ name: 'a', content: 'a' }])
    const forged = { ...honest, diffId: `sha256:${'1'.repeat(64)}` as Digest }
    await expect(unpack([forged])).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: forged.diffId,
      actual: honest.diffId,
    })
    expect(await storage.snapshotter.has(forged.diffId)).toBe(false)
    expect(await leftovers()).toEqual([])
  })

  test('refuses a layer that leads out of its root, and keeps nothing of it', async () => {
    const bad = await layer([{ name: '../../out', content: 'out' }])
    await expect(unpack([bad])).rejects.toMatchObject({ code: 'KEELSON_LAYER_INVALID' })
    expect(await leftovers()).toEqual([])
  })

  test('refuses a hard link to a file that no layer has', async () => {
    const base = await layer([{ name: 'a', content: 'a' }])
    const dangling = await layer([{ name: 'link', type: '1', linkname: 'gone' }])
    for (const layers of [[dangling], [base, dangling]]) {
      await expect(unpack(layers)).rejects.toMatchObject({
        code: 'KEELSON_LAYER_INVALID',
        path: 'link',
        message: expect.stringContaining('missing file'),
      })
    }
    expect(await leftovers()).toEqual([])
  })

  test('refuses bytes that are no archive', async () => {
    const bad = { ...(await layer([])), bytes: Buffer.from('not gzip at all') }
    await expect(unpack([bad])).rejects.toMatchObject({ code: 'KEELSON_LAYER_INVALID' })
    expect(await leftovers()).toEqual([])
  })

  test('stops at an abort and keeps nothing', async () => {
    const controller = new AbortController()
    const big = await layer([{ name: 'big', content: Buffer.alloc(64 << 20) }], 'none')
    const work = unpack([big], { signal: controller.signal, onProgress: () => controller.abort() })
    await expect(work).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
    expect(await leftovers()).toEqual([])
    // And the lock is free.
    await unpack([await layer([{ name: 'small' }])])
  })

  test('removes what nobody uses, and nothing that a container has mounted', async () => {
    const chain = await unpack(await layersOf(RICH_LAYERS))
    const top = chain.at(-1) as Digest
    const path = join(directory, top.slice(7), 'lock')
    const lock = await acquireLock(storage.launcher, path, 'shared')
    expect(await storage.snapshotter.inUse(top)).toBe(true)
    expect(await storage.snapshotter.remove(top)).toBe(false)
    expect(await storage.snapshotter.has(top)).toBe(true)
    await lock.release()
    expect(await storage.snapshotter.inUse(top)).toBe(false)
    expect(await storage.snapshotter.remove(top)).toBe(true)
    expect(await storage.snapshotter.has(top)).toBe(false)
    expect(await storage.snapshotter.remove(top)).toBe(true)
    const left = (await storage.snapshotter.list()).map((each) => each.chainId)
    expect(left.sort()).toEqual(chain.slice(0, -1).sort())
  })

  test('is unpacked once when two want it at once', async () => {
    const layers = await layersOf(RICH_LAYERS)
    const [one, two] = await Promise.all([unpack(layers), unpack(layers)])
    expect(one).toEqual(two)
    expect(await leftovers()).toEqual([])
  })

  test('does what a killed engine left: half snapshots, removals, writable layers', async () => {
    const layers = await layersOf(RICH_LAYERS)
    const chain = chainIds(layers.map((each) => each.diffId))
    const half = join(directory, 'unpacking', (chain[0] as Digest).slice(7), 'fs')
    await mkdir(half, { recursive: true })
    await writeFile(join(half, 'stale'), 'stale')
    await mkdir(join(directory, 'removed', 'abc', 'fs'), { recursive: true })
    await mkdir(join(directory, 'writable', 'dead', 'one', 'upper'), { recursive: true })
    await using again = await openStorage(temp.path, { driver })
    expect(await readdir(join(directory, 'removed'))).toEqual([])
    // Those of the two living engines.
    expect(await readdir(join(directory, 'writable'))).toHaveLength(2)
    await unpack(layers)
    expect(find(await tree(chain), './stale')).toBeUndefined()
    expect(await again.snapshotter.has(chain[0] as Digest)).toBe(true)
  })

  test('unpacks again what may have been holed by a power cut', async () => {
    const layers = await layersOf(RICH_LAYERS)
    const chain = await unpack(layers)
    const [settled, holed] = chain as [Digest, Digest]
    await storage.snapshotter.settle([settled])
    for (const chainId of [settled, holed]) {
      const path = join(directory, chainId.slice(7), 'snapshot.json')
      await writeFile(path, JSON.stringify({ chainId, parents: [], boot: 'an earlier one' }))
    }
    await using again = await openStorage(temp.path, { driver })
    expect(await again.snapshotter.has(settled)).toBe(true)
    expect(await again.snapshotter.has(holed)).toBe(false)
  })

  async function leftovers(): Promise<string[]> {
    const names = await readdir(join(directory, 'unpacking'))
    return [
      // A lock file that a failure leaves is empty and goes with the next sweep.
      ...names.filter((name) => !name.endsWith('.lock')),
      ...(await readdir(join(directory, 'removed'))),
    ]
  }
})

const withoutDirectoryTimes = (lines: string[]) =>
  lines.map((line) => line.replace(/^(\S+ 40000 \S+ \S+) \d+/, '$1'))

test('both drivers make the same tree', async () => {
  await using temp = await temporaryDirectory()
  const trees: string[][] = []
  for (const driver of ['overlay', 'copy'] as const) {
    await using storage = await openStorage(temp.join(driver), { driver })
    const layers = await Promise.all(RICH_LAYERS.map((entries) => layer(entries)))
    const chain = chainIds(layers.map((each) => each.diffId))
    for (const [index, each] of layers.entries()) {
      const blob = temp.join(each.digest)
      await writeFile(blob, each.bytes)
      await storage.snapshotter.unpack({
        chainId: chain[index] as Digest,
        parents: chain.slice(0, index),
        diffId: each.diffId,
        blob,
        size: each.bytes.length,
        compression: 'gzip',
        parentsReady: Promise.resolve(),
      })
    }
    await using _ = await mounted(storage.snapshotter.view(chain), temp.join('mnt'))
    // Only a whole tree can have one file under names from two layers; overlay shows a copy.
    trees.push(await describeTree(temp.join('mnt'), { links: false }))
  }
  expect(trees[0]).toEqual(trees[1])
})
