import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Digest } from '../../src/oci/digest.ts'
import { busyboxEntries } from '../support/busybox-image.ts'
import { layer } from '../support/layers.ts'
import { run, stop } from '../support/process.ts'
import { RICH_LAYERS } from '../support/rich-layers.ts'
import { serveImage } from '../support/served-image.ts'
import { inProcess, openStorage, program } from '../support/storage.ts'
import { mounted } from '../support/tree.ts'
import { noise, pulling } from '../support/pulling.ts'

const on = pulling()

describe('what goes wrong around a pull', () => {
  test('fetches again a layer that the disk damaged', async () => {
    const base = await layer(await busyboxEntries())
    await on.serve([base])
    const image = await on.storage.images.pull(on.reference())
    const path = on.storage.store.path(base.digest)
    const damaged = await readFile(path)
    damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] ?? 0) ^ 0xff
    await writeFile(path, damaged)
    await on.storage.snapshotter.remove(image.chain[0] as Digest)
    await on.storage.images.pull(on.reference())
    expect(base.bytes.equals(await readFile(path))).toBe(true)
    expect(await on.storage.snapshotter.has(image.chain[0] as Digest)).toBe(true)
  })

  test('names a full disk, and leaves the store usable', async () => {
    await on.serve([await noise(6_000_000)])
    const disk = on.temp.join('disk')
    await mkdir(disk)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk])
    try {
      await using small = await openStorage(disk)
      await expect(small.images.pull(on.reference())).rejects.toMatchObject({
        code: 'KEELSON_NO_SPACE',
      })
      await serveImage(on.registry, 'small', '1', { layers: [await noise(100_000)] })
      await small.images.pull(`${on.registry.host}/small:1`)
    } finally {
      await run('umount', [disk])
    }
  })

  test('pulls, removals and prunes of many processes at once do not hurt each other', async () => {
    const base = await noise(200_000)
    for (const tag of ['1', '2', '3']) {
      const own = await layer([{ name: tag, content: randomBytes(50_000) }])
      await serveImage(on.registry, 'app', tag, { layers: [base, own] })
    }
    const programs = [0, 1, 2].map(
      (seed) => `
        for (let round = 0; round < 12; round++) {
          const tag = 1 + (round + ${seed}) % 3
          const image = await images.pull(${JSON.stringify(`${on.registry.host}/app:`)} + tag)
          if (round % 3 === 0) await image.remove()
          if (round % 4 === ${seed}) await images.prune({ all: true })
        }
        print('done')
      `,
    )
    const ended = await Promise.all(programs.map((source) => inProcess(on.temp.path, source)))
    expect(ended.map(({ stdout }) => stdout)).toEqual(Array(3).fill('"done"\n'))
    for (const tag of ['1', '2', '3']) {
      const image = await on.storage.images.pull(`${on.registry.host}/app:${tag}`)
      for (const { digest, size, mediaType } of (await image.inspect()).layers) {
        expect(await on.storage.store.verify({ digest, size, mediaType })).toBe(true)
      }
      await using _ = await mounted(on.storage.snapshotter.view(image.chain), on.temp.join('mnt'))
      expect((await readdir(on.temp.join('mnt'))).sort()).toEqual([tag, 'noise'])
    }
    await on.storage.images.prune({ all: true })
    expect(await readdir(on.storage.store.layout.blobs('sha256'))).toEqual([])
    expect(await on.storage.snapshotter.list()).toEqual([])
  })

  test('SIGKILL at any instant of a pull leaves a store that the next pull completes', async () => {
    const layers = await Promise.all([1, 2, 3].map(() => noise(1_500_000)))
    const rich = await Promise.all(RICH_LAYERS.map((entries) => layer(entries)))
    const documents = await on.serve([...layers, ...rich])
    const source = `
      await images.pull(${JSON.stringify(on.reference())}, {
        onProgress: () => print('step'),
      })
    `
    for (let round = 1; round <= 8; round++) {
      const root = on.temp.join(`root-${round}`)
      const child = spawn(
        process.execPath,
        ['--input-type=module', '--eval', program(root, source)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      // A different number of steps each time.
      let steps = 0
      child.stdout.on('data', (data: Buffer) => {
        steps += data.toString().split('\n').length - 1
        if (steps >= round * 25) child.kill('SIGKILL')
      })
      await once(child, 'close')
      await stop(child, 'SIGKILL')
      await using again = await openStorage(root)
      const image = await again.images.pull(on.reference())
      expect(image.digest).toBe(documents.manifest.digest)
      for (const { descriptor } of documents.blobs) {
        expect(await again.store.verify(descriptor)).toBe(true)
      }
      await again.images.prune()
      expect(await readdir(again.store.layout.ingest)).toEqual([])
      expect(await readdir(join(root, 'snapshots/overlay/unpacking'))).toEqual([])
      expect(await readdir(join(root, 'snapshots/overlay/removed'))).toEqual([])
      expect((await again.snapshotter.list()).length).toBe(6)
      await expect(stat(join(root, 'content/index.json.damaged'))).rejects.toThrow('ENOENT')
    }
  })
})
