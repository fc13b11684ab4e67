import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { PullProgress } from '../../src/image/progress.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { Registry, type Fault, type RegistryRequest } from '../../src/registry-server/index.ts'
import { tryLock } from '../../src/store/lock.ts'
import { busyboxEntries, busyboxImage } from '../support/busybox-image.ts'
import { dockerRegistry, type DockerRegistry } from '../support/docker-registry.ts'
import { layer, type TestLayer } from '../support/layers.ts'
import { run, stop } from '../support/process.ts'
import { pushLayout } from '../support/push.ts'
import { RICH_LAYERS } from '../support/rich-layers.ts'
import { serveImage } from '../support/served-image.ts'
import { inProcess, openStorage, program, type Storage } from '../support/storage.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'
import { describeTree, mounted } from '../support/tree.ts'

let temp: TemporaryDirectory
let storage: Storage

beforeEach(async () => {
  temp = await temporaryDirectory()
  storage = await openStorage(temp.path)
})
afterEach(async () => {
  await storage[Symbol.asyncDispose]()
  await temp[Symbol.asyncDispose]()
})

/** What a pull may leave when it fails: nothing but half blobs, and locks that nobody holds. */
async function expectNothingHalf(): Promise<void> {
  const { store, launcher } = storage
  const unpacking = join(temp.path, 'snapshots', 'overlay', 'unpacking')
  expect((await readdir(unpacking)).filter((name) => !name.endsWith('.lock'))).toEqual([])
  expect(await store.names.entries()).toEqual([])
  const locks = [
    store.layout.storeLock,
    ...(await readdir(store.layout.ingest)).map((name) => join(store.layout.ingest, name)),
    ...(await readdir(unpacking)).map((name) => join(unpacking, name)),
  ].filter((path) => path === store.layout.storeLock || path.endsWith('.lock'))
  for (const path of locks) {
    const lock = await tryLock(launcher, path, 'exclusive')
    expect(lock, path).toBeDefined()
    await lock?.release()
  }
}

async function partials(): Promise<string[]> {
  const names = await readdir(storage.store.layout.ingest)
  return names.filter((name) => !name.includes('.'))
}

/** Content that no compression makes small. */
const noise = (size: number) => layer([{ name: 'noise', content: randomBytes(size) }], 'none')

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
    const image = await storage.images.pull(`${registry.host}/busybox:1`, {
      onProgress: (event) => events.push(event),
    })
    expect(image.digest).toBe(pushed.digest)
    expect(image.references).toEqual([`${registry.host}/busybox:1`])
    expect(image.config.config).toEqual({ Cmd: ['sh'], Env: ['PATH=/bin'] })
    expect(image.chain).toHaveLength(1)
    {
      await using _ = await mounted(storage.snapshotter.view(image.chain), temp.join('mnt'))
      const busyboxItself = await readFile('/usr/bin/busybox')
      expect(busyboxItself.equals(await readFile(temp.join('mnt/bin/sh')))).toBe(true)
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
    const image = await storage.images.pull(`${registry.host}/busybox:1`)
    await using copied = await openStorage(temp.join('copy'), { driver: 'copy' })
    const other = await copied.images.pull(`${registry.host}/busybox:1`)
    await using one = await mounted(storage.snapshotter.view(image.chain), temp.join('a'))
    await using two = await mounted(copied.snapshotter.view(other.chain), temp.join('b'))
    const tree = await describeTree(temp.join('a'), { links: false })
    expect(tree.length).toBeGreaterThan(250)
    expect(await describeTree(temp.join('b'), { links: false })).toEqual(tree)
    expect([one, two]).toHaveLength(2)
  })

  test('pulls by digest, and finds by digest what was pulled by tag', async () => {
    const busybox = await busyboxImage()
    const { digest } = await pushLayout(busybox.layout, busybox.name, registry)
    const image = await storage.images.pull(`${registry.host}/busybox@${digest}`)
    expect(image.references).toEqual([`${registry.host}/busybox@${digest}`])
    await image.remove()
    await storage.images.pull(`${registry.host}/busybox:1`)
    const again = await storage.images.pull(`${registry.host}/busybox:7@${digest}`, {
      policy: 'never',
    })
    expect(again.digest).toBe(digest)
  })

  test('says that there is no such image', async () => {
    await expect(storage.images.pull(`${registry.host}/none:1`)).rejects.toMatchObject({
      code: 'KEELSON_IMAGE_NOT_FOUND',
    })
    await expectNothingHalf()
  })
})

describe('with a registry of this process', () => {
  let registry: Registry
  let requests: RegistryRequest[]
  let faultOf: (request: RegistryRequest) => Fault | undefined | Promise<Fault | undefined>

  beforeEach(async () => {
    requests = []
    faultOf = () => undefined
    registry = await Registry.listen({
      intercept: (request) => {
        requests.push(request)
        return faultOf(request)
      },
    })
  })
  afterEach(() => registry.close())

  const blobRequests = (digest: Digest) =>
    requests.filter((request) => request.kind === 'blob' && request.digest === digest)
  const reference = () => `${registry.host}/app:1`
  const serve = (layers: TestLayer[], extra: Record<string, unknown> = {}) =>
    serveImage(registry, 'app', '1', { layers, extra })

  test('asks the registry as the policy says', async () => {
    await expect(storage.images.pull(reference(), { policy: 'never' })).rejects.toMatchObject({
      code: 'KEELSON_IMAGE_NOT_FOUND',
    })
    expect(requests).toEqual([])
    await serve([await layer([{ name: 'first' }])])
    const first = await storage.images.pull(reference())
    const asked = requests.length
    expect((await storage.images.pull(reference())).id).toBe(first.id)
    expect(requests).toHaveLength(asked)
    await serve([await layer([{ name: 'second' }])])
    expect((await storage.images.pull(reference())).id).toBe(first.id)
    const second = await storage.images.pull(reference(), { policy: 'always' })
    expect(second.id).not.toBe(first.id)
    // The tag moved on; what had it stays until it is pruned.
    const all = await storage.images.list()
    const names = Object.fromEntries(all.map((image) => [image.id, image.references]))
    expect(names).toEqual({ [first.id]: [], [second.id]: [reference()] })
  })

  test('does not download again what is here', async () => {
    const base = await noise(100_000)
    await serve([base])
    await storage.images.pull(reference())
    await serve([base, await layer([{ name: 'more' }])])
    const events: PullProgress[] = []
    await storage.images.pull(reference(), {
      policy: 'always',
      onProgress: (event) => events.push(event),
    })
    expect(blobRequests(base.digest)).toHaveLength(1)
    const ofBase = events.filter((event) => event.layer === base.digest)
    expect(ofBase.map((event) => event.status)).toEqual(['waiting', 'exists'])
  })

  test('shares the work between pulls in one process', async () => {
    const layers = await Promise.all([noise(200_000), noise(300_000)])
    const documents = await serve(layers)
    const pulls = Array.from({ length: 5 }, () => storage.images.pull(reference()))
    const images = await Promise.all(pulls)
    expect(new Set(images.map((image) => image.id)).size).toBe(1)
    for (const { digest } of [...layers, documents.config]) {
      expect(blobRequests(digest)).toHaveLength(1)
    }
  })

  test('shares the work between processes', async () => {
    const layers = await Promise.all([noise(2_000_000), noise(3_000_000)])
    const documents = await serve(layers)
    const source = `print((await images.pull(${JSON.stringify(reference())})).digest)`
    const ended = await Promise.all([
      inProcess(temp.path, source),
      inProcess(temp.path, source),
      storage.images.pull(reference()).then(({ digest }) => ({ stdout: JSON.stringify(digest) })),
    ])
    for (const { stdout } of ended) expect(JSON.parse(stdout)).toBe(documents.manifest.digest)
    for (const { digest } of layers) expect(blobRequests(digest)).toHaveLength(1)
  })

  test('an abort ends one pull and not the other that shares its work', async () => {
    const big = await noise(3_000_000)
    await serve([big])
    const controller = new AbortController()
    const both = [
      storage.images.pull(reference(), {
        signal: controller.signal,
        onProgress: ({ status, current }) => {
          if (status === 'downloading' && current > 0) controller.abort()
        },
      }),
      storage.images.pull(reference()),
    ]
    const [aborted, whole] = await Promise.allSettled(both)
    expect(aborted).toMatchObject({ status: 'rejected', reason: { code: 'KEELSON_ABORTED' } })
    expect(whole).toMatchObject({ status: 'fulfilled' })
    expect(blobRequests(big.digest)).toHaveLength(1)
  })

  test('an abort leaves a half blob and nothing else, and the next pull resumes it', async () => {
    const big = await noise(8_000_000)
    await serve([big, await layer([{ name: 'small' }])])
    const controller = new AbortController()
    const attempt = storage.images.pull(reference(), {
      signal: controller.signal,
      onProgress: ({ layer: digest, current }) => {
        if (digest === big.digest && current > 1_000_000) controller.abort()
      },
    })
    await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
    await expectNothingHalf()
    expect(await partials()).toContain(big.digest.replace(':', '-'))
    const image = await storage.images.pull(reference())
    expect(image.chain).toHaveLength(2)
    expect(blobRequests(big.digest).at(-1)?.headers.range).toMatch(/^bytes=[1-9]\d{5,}-$/)
    expect(await partials()).toEqual([])
  })

  test.each(['manifest', 'blob'] as const)(
    'an abort ends a %s request that hangs',
    async (kind) => {
      await serve([await noise(1000)])
      faultOf = (request) => (request.kind === kind ? { fault: 'hang' } : undefined)
      const attempt = storage.images.pull(reference(), { signal: AbortSignal.timeout(200) })
      await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
      await expectNothingHalf()
    },
  )

  test('a listener that throws ends its own pull and no other', async () => {
    await serve([await noise(1_000_000)])
    const broken = storage.images.pull(reference(), {
      onProgress: ({ current }) => {
        if (current > 0) throw new Error('the listener is broken')
      },
    })
    const [first, second] = await Promise.allSettled([broken, storage.images.pull(reference())])
    expect(first).toMatchObject({
      status: 'rejected',
      reason: { code: 'KEELSON_ABORTED', cause: { message: 'the listener is broken' } },
    })
    expect(second.status).toBe('fulfilled')
  })

  test('goes on after a cut', async () => {
    const big = await noise(3_000_000)
    await serve([big])
    faultOf = ({ kind, headers }) =>
      kind === 'blob' && headers.range === undefined ? { fault: 'cut', after: 500_000 } : undefined
    const image = await storage.images.pull(reference())
    expect(image.chain).toHaveLength(1)
    expect(blobRequests(big.digest)).toHaveLength(2)
  })

  test('refuses a layer with other bytes, and keeps nothing of it', async () => {
    const big = await noise(500_000)
    await serve([big])
    faultOf = ({ digest }) => (digest === big.digest ? { fault: 'corrupt' } : undefined)
    await expect(storage.images.pull(reference())).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: big.digest,
    })
    await expectNothingHalf()
    expect(await partials()).toEqual([])
  })

  test('gets over bytes that were wrong once', async () => {
    const big = await noise(500_000)
    await serve([big])
    faultOf = ({ digest, previous }) =>
      digest === big.digest && previous === 0 ? { fault: 'corrupt' } : undefined
    expect((await storage.images.pull(reference())).chain).toHaveLength(1)
  })

  test('says that bytes were wrong, whoever notices it first', async () => {
    // Unpacking fails at once, and would end a download that has not come to its digest.
    const big = await layer([{ name: 'noise', content: randomBytes(2_000_000) }], 'gzip')
    await serve([big])
    let wrong = 2
    faultOf = ({ digest }) =>
      digest === big.digest && wrong-- > 0 ? { fault: 'corrupt' } : undefined
    await expect(storage.images.pull(reference())).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: big.digest,
    })
    await expectNothingHalf()
    expect(await partials()).toEqual([])
    expect((await storage.images.pull(reference())).chain).toHaveLength(1)
  })

  test('begins anew when what it goes on with has other bytes', async () => {
    const big = await noise(500_000)
    await serve([big])
    await writeFile(storage.store.layout.partial(big.digest), big.bytes.subarray(0, 100_000))
    faultOf = ({ digest, headers }) =>
      digest === big.digest && headers.range !== undefined ? { fault: 'corrupt' } : undefined
    expect((await storage.images.pull(reference())).chain).toHaveLength(1)
    const ranges = blobRequests(big.digest).map(({ headers }) => headers.range)
    expect(ranges).toEqual(['bytes=100000-', undefined])
    expect(await storage.store.verify({ ...big, size: big.bytes.length })).toBe(true)
  })

  test('says so when the bytes are other ones from both, and takes the right ones later', async () => {
    const big = await noise(500_000)
    await serve([big])
    await writeFile(storage.store.layout.partial(big.digest), big.bytes.subarray(0, 100_000))
    faultOf = ({ digest }) => (digest === big.digest ? { fault: 'corrupt' } : undefined)
    await expect(storage.images.pull(reference())).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: big.digest,
    })
    await expectNothingHalf()
    expect(await partials()).toEqual([])
    faultOf = () => undefined
    expect((await storage.images.pull(reference())).chain).toHaveLength(1)
  })

  test('gets over a half blob with foreign bytes', async () => {
    const big = await noise(500_000)
    await serve([big])
    await writeFile(storage.store.layout.partial(big.digest), randomBytes(100_000))
    expect((await storage.images.pull(reference())).chain).toHaveLength(1)
  })

  test.each([
    ['short', { fault: 'short', bytes: 10 }],
    ['long', { fault: 'long', bytes: 10 }],
  ] as const)('refuses a layer that is too %s', async (_, fault) => {
    const big = await noise(50_000)
    await serve([big])
    faultOf = ({ digest }) => (digest === big.digest ? fault : undefined)
    const error = await storage.images.pull(reference()).catch((failure: unknown) => failure)
    expect(error).toMatchObject({ name: 'ContentError' })
    expect(await storage.store.has(big.digest)).toBe(false)
    await expectNothingHalf()
  })

  test.each(['config', 'manifest'] as const)('refuses a %s with other bytes', async (which) => {
    const documents = await serve([await noise(1000)])
    const pinned = `${registry.host}/app@${documents.manifest.digest}`
    faultOf = ({ digest }) =>
      digest === documents[which].digest ? { fault: 'corrupt' } : undefined
    await expect(storage.images.pull(pinned)).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
    })
    await expectNothingHalf()
  })

  test('refuses a layer that unpacks to something else than the configuration says', async () => {
    const forged = { ...(await noise(1000)), diffId: digestOf('something else') }
    await serve([forged])
    await expect(storage.images.pull(reference())).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: forged.diffId,
    })
    await expectNothingHalf()
    expect(await storage.snapshotter.has(forged.diffId)).toBe(false)
  })

  test('refuses an image whose parts do not fit together', async () => {
    const rootfs = { type: 'layers', diff_ids: [digestOf('a'), digestOf('b')] }
    await serve([await noise(1000)], { rootfs })
    await expect(storage.images.pull(reference())).rejects.toMatchObject({
      code: 'KEELSON_MANIFEST_INVALID',
    })
    await expectNothingHalf()
  })

  test('refuses a configuration that is said to be enormous, before it asks for it', async () => {
    const config = { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf('x'), size: 1e12 }
    await registry.addManifest('app', '1', { schemaVersion: 2, config, layers: [] })
    await expect(storage.images.pull(reference())).rejects.toMatchObject({
      code: 'KEELSON_MANIFEST_INVALID',
    })
    expect(requests.filter((request) => request.kind === 'blob')).toEqual([])
  })

  test('refuses what is not an image', async () => {
    const config = await registry.addBlob('app', '{}', 'application/vnd.cncf.helm.config.v1+json')
    await registry.addManifest('app', '1', { schemaVersion: 2, config, layers: [] })
    await expect(storage.images.pull(reference())).rejects.toMatchObject({
      code: 'KEELSON_MANIFEST_UNSUPPORTED',
    })
    await expectNothingHalf()
  })

  describe('chooses the platform', () => {
    const amd64 = { os: 'linux', architecture: 'amd64' }
    const arm64 = { os: 'linux', architecture: 'arm64', variant: 'v8' }

    test('of an index', async () => {
      const manifests = []
      for (const platform of [arm64, amd64]) {
        const layers = [await layer([{ name: platform.architecture }])]
        const { manifest } = await serveImage(registry, 'app', undefined, { layers, platform })
        manifests.push({ ...manifest, platform })
      }
      const index = await registry.addManifest('app', '1', {
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociIndex,
        manifests,
      })
      const arm = await storage.images.pull(reference(), { platform: 'linux/arm64' })
      expect([arm.digest, arm.platform]).toEqual([manifests[0]?.digest, arm64])
      const amd = await storage.images.pull(reference(), { platform: 'linux/amd64' })
      expect([amd.digest, amd.platform]).toEqual([manifests[1]?.digest, amd64])
      // By the digest of the index, too, as people pin images.
      const pinned = `${registry.host}/app@${index.digest}`
      const asked = requests.length
      const same = await storage.images.pull(pinned, { platform: 'linux/amd64' })
      expect(same.digest).toBe(amd.digest)
      expect(requests).toHaveLength(asked)
      await expect(
        storage.images.pull(reference(), { platform: 'linux/riscv64' }),
      ).rejects.toMatchObject({ code: 'KEELSON_PLATFORM_NOT_FOUND' })
    })

    test('and refuses an image for another one, unless it was asked for', async () => {
      const layers = [await layer([{ name: 'x' }])]
      await serveImage(registry, 'app', '1', {
        layers,
        platform: { os: 'linux', architecture: 's390x' },
      })
      await expect(storage.images.pull(reference())).rejects.toMatchObject({
        code: 'KEELSON_PLATFORM_NOT_FOUND',
        available: ['linux/s390x'],
      })
      await expectNothingHalf()
      const image = await storage.images.pull(reference(), { platform: 'linux/s390x' })
      expect(image.platform.architecture).toBe('s390x')
    })
  })

  test('fetches again a layer that the disk damaged', async () => {
    const base = await layer(await busyboxEntries())
    await serve([base])
    const image = await storage.images.pull(reference())
    const path = storage.store.path(base.digest)
    const damaged = await readFile(path)
    damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] ?? 0) ^ 0xff
    await writeFile(path, damaged)
    await storage.snapshotter.remove(image.chain[0] as Digest)
    await storage.images.pull(reference())
    expect(base.bytes.equals(await readFile(path))).toBe(true)
    expect(await storage.snapshotter.has(image.chain[0] as Digest)).toBe(true)
  })

  test('names a full disk, and leaves the store usable', async () => {
    await serve([await noise(6_000_000)])
    const disk = temp.join('disk')
    await mkdir(disk)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk])
    try {
      await using small = await openStorage(disk)
      await expect(small.images.pull(reference())).rejects.toMatchObject({
        code: 'KEELSON_NO_SPACE',
      })
      await serveImage(registry, 'small', '1', { layers: [await noise(100_000)] })
      await small.images.pull(`${registry.host}/small:1`)
    } finally {
      await run('umount', [disk])
    }
  })

  test('pulls, removals and prunes of many processes at once do not hurt each other', async () => {
    const base = await noise(200_000)
    for (const tag of ['1', '2', '3']) {
      const own = await layer([{ name: tag, content: randomBytes(50_000) }])
      await serveImage(registry, 'app', tag, { layers: [base, own] })
    }
    const programs = [0, 1, 2].map(
      (seed) => `
        for (let round = 0; round < 12; round++) {
          const tag = 1 + (round + ${seed}) % 3
          const image = await images.pull(${JSON.stringify(`${registry.host}/app:`)} + tag)
          if (round % 3 === 0) await image.remove()
          if (round % 4 === ${seed}) await images.prune({ all: true })
        }
        print('done')
      `,
    )
    const ended = await Promise.all(programs.map((source) => inProcess(temp.path, source)))
    expect(ended.map(({ stdout }) => stdout)).toEqual(Array(3).fill('"done"\n'))
    for (const tag of ['1', '2', '3']) {
      const image = await storage.images.pull(`${registry.host}/app:${tag}`)
      for (const { digest, size, mediaType } of (await image.inspect()).layers) {
        expect(await storage.store.verify({ digest, size, mediaType })).toBe(true)
      }
      await using _ = await mounted(storage.snapshotter.view(image.chain), temp.join('mnt'))
      expect((await readdir(temp.join('mnt'))).sort()).toEqual([tag, 'noise'])
    }
    await storage.images.prune({ all: true })
    expect(await readdir(storage.store.layout.blobs('sha256'))).toEqual([])
    expect(await storage.snapshotter.list()).toEqual([])
  })

  test('SIGKILL at any instant of a pull leaves a store that the next pull completes', async () => {
    const layers = await Promise.all([1, 2, 3].map(() => noise(1_500_000)))
    const rich = await Promise.all(RICH_LAYERS.map((entries) => layer(entries)))
    const documents = await serve([...layers, ...rich])
    const source = `
      await images.pull(${JSON.stringify(reference())}, {
        onProgress: () => print('step'),
      })
    `
    for (let round = 1; round <= 8; round++) {
      const root = temp.join(`root-${round}`)
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
      const image = await again.images.pull(reference())
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
