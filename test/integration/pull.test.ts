import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { PullProgress } from '../../src/image/progress.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { busyboxImage } from '../support/busybox-image.ts'
import { dockerRegistry, type DockerRegistry } from '../support/docker-registry.ts'
import { layer } from '../support/layers.ts'
import { pushLayout } from '../support/push.ts'
import { RICH_LAYERS } from '../support/rich-layers.ts'
import { serveImage } from '../support/served-image.ts'
import { inProcess, openStorage } from '../support/storage.ts'
import { describeTree, mounted } from '../support/tree.ts'
import { noise, pulling } from '../support/pulling.ts'

const on = pulling()

describe("from Debian's registry", () => {
  let registry: DockerRegistry
  beforeEach(async () => {
    registry = await dockerRegistry()
  })
  afterEach(() => registry[Symbol.asyncDispose]())

  test.each(['gzip', 'zstd', 'none'] as const)('pulls an image packed with %s', async (packing) => {
    const busybox = await busyboxImage({ compression: packing })
    const pushed = await pushLayout(busybox.layout, busybox.name, registry)
    const events: PullProgress[] = []
    const image = await on.storage.images.pull(`${registry.host}/busybox:1`, {
      onProgress: (event) => events.push(event),
    })
    expect(image.digest).toBe(pushed.digest)
    expect(image.references).toEqual([`${registry.host}/busybox:1`])
    expect(image.config.config).toEqual({ Cmd: ['sh'], Env: ['PATH=/bin'] })
    expect(image.chain).toHaveLength(1)
    {
      await using _ = await mounted(on.storage.snapshotter.view(image.chain), on.temp.join('mnt'))
      const busyboxItself = await readFile('/usr/bin/busybox')
      expect(busyboxItself.equals(await readFile(on.temp.join('mnt/bin/sh')))).toBe(true)
    }
    const statuses = events.map((event) => event.status)
    expect(statuses[0]).toBe('waiting')
    expect(statuses).toContain('downloading')
    expect(statuses.at(-1)).toBe('done')
    const order = ['waiting', 'downloading', 'verifying', 'unpacking', 'done']
    const ranks = statuses.map((status) => order.indexOf(status))
    expect(ranks).toEqual(ranks.toSorted((a, b) => a - b))
    expect(events.at(-1)?.totals).toMatchObject({ layers: 1, finished: 1 })
    expect(events.at(-1)?.totals.current).toBe(events.at(-1)?.totals.total)
  })

  test('stacks the layers of an image, whichever arrives first', async () => {
    const busybox = await busyboxImage({ layers: RICH_LAYERS })
    await pushLayout(busybox.layout, busybox.name, registry)
    const image = await on.storage.images.pull(`${registry.host}/busybox:1`)
    await using copied = await openStorage(on.temp.join('copy'), { driver: 'copy' })
    const other = await copied.images.pull(`${registry.host}/busybox:1`)
    await using one = await mounted(on.storage.snapshotter.view(image.chain), on.temp.join('a'))
    await using two = await mounted(copied.snapshotter.view(other.chain), on.temp.join('b'))
    const tree = await describeTree(on.temp.join('a'), { links: false })
    expect(tree.length).toBeGreaterThan(250)
    expect(await describeTree(on.temp.join('b'), { links: false })).toEqual(tree)
    expect([one, two]).toHaveLength(2)
  })

  test('pulls by digest, and finds by digest what was pulled by tag', async () => {
    const busybox = await busyboxImage()
    const { digest } = await pushLayout(busybox.layout, busybox.name, registry)
    const image = await on.storage.images.pull(`${registry.host}/busybox@${digest}`)
    expect(image.references).toEqual([`${registry.host}/busybox@${digest}`])
    await image.remove()
    await on.storage.images.pull(`${registry.host}/busybox:1`)
    const again = await on.storage.images.pull(`${registry.host}/busybox:7@${digest}`, {
      policy: 'never',
    })
    expect(again.digest).toBe(digest)
  })

  test('says that there is no such image', async () => {
    await expect(on.storage.images.pull(`${registry.host}/none:1`)).rejects.toMatchObject({
      code: 'KEELSON_IMAGE_NOT_FOUND',
    })
    await on.expectNothingHalf()
  })
})

describe('with a registry of this process', () => {
  test('asks the registry as the policy says', async () => {
    await expect(on.storage.images.pull(on.reference(), { policy: 'never' })).rejects.toMatchObject(
      {
        code: 'KEELSON_IMAGE_NOT_FOUND',
      },
    )
    expect(on.requests).toEqual([])
    await on.serve([await layer([{ name: 'first' }])])
    const first = await on.storage.images.pull(on.reference())
    const asked = on.requests.length
    expect((await on.storage.images.pull(on.reference())).id).toBe(first.id)
    expect(on.requests).toHaveLength(asked)
    await on.serve([await layer([{ name: 'second' }])])
    expect((await on.storage.images.pull(on.reference())).id).toBe(first.id)
    const second = await on.storage.images.pull(on.reference(), { policy: 'always' })
    expect(second.id).not.toBe(first.id)
    // The tag moved on; what had it stays until it is pruned.
    const all = await on.storage.images.list()
    const names = Object.fromEntries(all.map((image) => [image.id, image.references]))
    expect(names).toEqual({ [first.id]: [], [second.id]: [on.reference()] })
  })

  test('does not download again what is here', async () => {
    const base = await noise(100_000)
    await on.serve([base])
    await on.storage.images.pull(on.reference())
    await on.serve([base, await layer([{ name: 'more' }])])
    const events: PullProgress[] = []
    await on.storage.images.pull(on.reference(), {
      policy: 'always',
      onProgress: (event) => events.push(event),
    })
    expect(on.blobRequests(base.digest)).toHaveLength(1)
    const ofBase = events.filter((event) => event.layer === base.digest)
    expect(ofBase.map((event) => event.status)).toEqual(['waiting', 'exists'])
  })

  test('shares the work between pulls in one process', async () => {
    const layers = await Promise.all([noise(200_000), noise(300_000)])
    const documents = await on.serve(layers)
    const pulls = Array.from({ length: 5 }, () => on.storage.images.pull(on.reference()))
    const images = await Promise.all(pulls)
    expect(new Set(images.map((image) => image.id)).size).toBe(1)
    for (const { digest } of [...layers, documents.config]) {
      expect(on.blobRequests(digest)).toHaveLength(1)
    }
  })

  test('shares the work between processes', async () => {
    const layers = await Promise.all([noise(2_000_000), noise(3_000_000)])
    const documents = await on.serve(layers)
    const source = `print((await images.pull(${JSON.stringify(on.reference())})).digest)`
    const ended = await Promise.all([
      inProcess(on.temp.path, source),
      inProcess(on.temp.path, source),
      on.storage.images
        .pull(on.reference())
        .then(({ digest }) => ({ stdout: JSON.stringify(digest) })),
    ])
    for (const { stdout } of ended) expect(JSON.parse(stdout)).toBe(documents.manifest.digest)
    for (const { digest } of layers) expect(on.blobRequests(digest)).toHaveLength(1)
  })

  test('an abort ends one pull and not the other that shares its work', async () => {
    const big = await noise(3_000_000)
    await on.serve([big])
    const controller = new AbortController()
    const both = [
      on.storage.images.pull(on.reference(), {
        signal: controller.signal,
        onProgress: ({ status, current }) => {
          if (status === 'downloading' && current > 0) controller.abort()
        },
      }),
      on.storage.images.pull(on.reference()),
    ]
    const [aborted, whole] = await Promise.allSettled(both)
    expect(aborted).toMatchObject({ status: 'rejected', reason: { code: 'KEELSON_ABORTED' } })
    expect(whole).toMatchObject({ status: 'fulfilled' })
    expect(on.blobRequests(big.digest)).toHaveLength(1)
  })

  test('an abort leaves a half blob and nothing else, and the next pull resumes it', async () => {
    const big = await noise(8_000_000)
    await on.serve([big, await layer([{ name: 'small' }])])
    const controller = new AbortController()
    const attempt = on.storage.images.pull(on.reference(), {
      signal: controller.signal,
      onProgress: ({ layer: digest, current }) => {
        if (digest === big.digest && current > 1_000_000) controller.abort()
      },
    })
    await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
    await on.expectNothingHalf()
    expect(await on.partials()).toContain(big.digest.replace(':', '-'))
    const image = await on.storage.images.pull(on.reference())
    expect(image.chain).toHaveLength(2)
    expect(on.blobRequests(big.digest).at(-1)?.headers.range).toMatch(/^bytes=[1-9]\d{5,}-$/)
    expect(await on.partials()).toEqual([])
  })

  test.each(['manifest', 'blob'] as const)(
    'an abort ends a %s request that hangs',
    async (kind) => {
      await on.serve([await noise(1000)])
      on.faultOf = (request) => (request.kind === kind ? { fault: 'hang' } : undefined)
      const attempt = on.storage.images.pull(on.reference(), { signal: AbortSignal.timeout(200) })
      await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
      await on.expectNothingHalf()
    },
  )

  test('a listener that throws ends its own pull and no other', async () => {
    await on.serve([await noise(1_000_000)])
    const broken = on.storage.images.pull(on.reference(), {
      onProgress: ({ current }) => {
        if (current > 0) throw new Error('the listener is broken')
      },
    })
    const [first, second] = await Promise.allSettled([
      broken,
      on.storage.images.pull(on.reference()),
    ])
    expect(first).toMatchObject({
      status: 'rejected',
      reason: { code: 'KEELSON_ABORTED', cause: { message: 'the listener is broken' } },
    })
    expect(second.status).toBe('fulfilled')
  })

  test('goes on after a cut', async () => {
    const big = await noise(3_000_000)
    await on.serve([big])
    on.faultOf = ({ kind, headers }) =>
      kind === 'blob' && headers.range === undefined ? { fault: 'cut', after: 500_000 } : undefined
    const image = await on.storage.images.pull(on.reference())
    expect(image.chain).toHaveLength(1)
    expect(on.blobRequests(big.digest)).toHaveLength(2)
  })

  describe('chooses the platform', () => {
    const amd64 = { os: 'linux', architecture: 'amd64' }
    const arm64 = { os: 'linux', architecture: 'arm64', variant: 'v8' }

    test('of an index', async () => {
      const manifests = []
      for (const platform of [arm64, amd64]) {
        const layers = [await layer([{ name: platform.architecture }])]
        const { manifest } = await serveImage(on.registry, 'app', undefined, { layers, platform })
        manifests.push({ ...manifest, platform })
      }
      const index = await on.registry.addManifest('app', '1', {
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociIndex,
        manifests,
      })
      const arm = await on.storage.images.pull(on.reference(), { platform: 'linux/arm64' })
      expect([arm.digest, arm.platform]).toEqual([manifests[0]?.digest, arm64])
      const amd = await on.storage.images.pull(on.reference(), { platform: 'linux/amd64' })
      expect([amd.digest, amd.platform]).toEqual([manifests[1]?.digest, amd64])
      // By the digest of the index, too, as people pin images.
      const pinned = `${on.registry.host}/app@${index.digest}`
      const asked = on.requests.length
      const same = await on.storage.images.pull(pinned, { platform: 'linux/amd64' })
      expect(same.digest).toBe(amd.digest)
      expect(on.requests).toHaveLength(asked)
      await expect(
        on.storage.images.pull(on.reference(), { platform: 'linux/riscv64' }),
      ).rejects.toMatchObject({ code: 'KEELSON_PLATFORM_NOT_FOUND' })
    })

    test('and refuses an image for another one, unless it was asked for', async () => {
      const layers = [await layer([{ name: 'x' }])]
      await serveImage(on.registry, 'app', '1', {
        layers,
        platform: { os: 'linux', architecture: 's390x' },
      })
      await expect(on.storage.images.pull(on.reference())).rejects.toMatchObject({
        code: 'KEELSON_PLATFORM_NOT_FOUND',
        available: ['linux/s390x'],
      })
      await on.expectNothingHalf()
      const image = await on.storage.images.pull(on.reference(), { platform: 'linux/s390x' })
      expect(image.platform.architecture).toBe('s390x')
    })
  })
})
