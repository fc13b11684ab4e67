import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { busyboxImage } from '../support/busybox-image.ts'
import { dockerRegistry, type DockerRegistry } from '../support/docker-registry.ts'
import { run } from '../support/process.ts'
import { pushLayout } from '../support/push.ts'
import { RICH_LAYERS } from '../support/rich-layers.ts'
import { openStorage, type Storage } from '../support/storage.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'
import { describeTree, mounted } from '../support/tree.ts'

let temp: TemporaryDirectory
let registry: DockerRegistry
let storage: Storage

beforeEach(async () => {
  temp = await temporaryDirectory()
  registry = await dockerRegistry()
  storage = await openStorage(temp.join('root'))
})
afterEach(async () => {
  await storage[Symbol.asyncDispose]()
  await registry[Symbol.asyncDispose]()
  await temp[Symbol.asyncDispose]()
})

const skopeo = (...args: string[]) => run('skopeo', ['--insecure-policy', ...args])

/** What an image of ours looks like, as the kernel shows it. */
async function treeOf(reference: string, options: { links?: boolean } = {}): Promise<string[]> {
  const image = await storage.images.pull(reference)
  await using _ = await mounted(storage.snapshotter.view(image.chain), temp.join('mnt'))
  return await describeTree(temp.join('mnt'), options)
}

/** What umoci makes of an image in a layout. */
async function umociTree(image: string, options: { links?: boolean } = {}): Promise<string[]> {
  await run('umoci', ['raw', 'unpack', '--image', image, temp.join('unpacked')])
  return await describeTree(temp.join('unpacked'), options)
}

describe('images of other tools', () => {
  test.each([
    ['oci', 'gzip', []],
    ['v2s2', 'gzip', []],
    // What is packed already skopeo pushes as it is.
    ['oci', 'none', ['--dest-compress-format', 'zstd']],
  ] as const)(
    'are pulled as skopeo pushes them (%s, %s %j)',
    async (format, compression, options) => {
      const busybox = await busyboxImage({ compression, layers: RICH_LAYERS.slice(0, 1) })
      const source = `oci:${busybox.layout}:${busybox.name}`
      const target = `docker://${registry.host}/app:1`
      const plain = ['--dest-tls-verify=false', '--format', format]
      await skopeo('copy', ...plain, ...options, source, target)
      const tree = await treeOf(`${registry.host}/app:1`)
      expect(await umociTree(`${busybox.layout}:${busybox.name}`)).toEqual(tree)
      const { layers } = await (await storage.images.get(`${registry.host}/app:1`)).inspect()
      expect(layers[0]?.mediaType).toMatch(options.length > 0 ? /zstd$/ : /gzip$/)
    },
  )

  test('are pulled as umoci writes them', async () => {
    const layout = temp.join('layout')
    const image = `${layout}:made`
    await run('umoci', ['init', '--layout', layout])
    await run('umoci', ['new', '--image', image])
    const bundle = temp.join('bundle')
    await run('umoci', ['unpack', '--image', image, bundle])
    await mkdir(`${bundle}/rootfs/etc`)
    await writeFile(`${bundle}/rootfs/etc/motd`, 'by umoci')
    await run('setfattr', ['-n', 'user.note', '-v', '0x00ff0a', `${bundle}/rootfs/etc/motd`])
    await run('umoci', ['repack', '--image', image, bundle])
    const again = temp.join('again')
    await run('umoci', ['unpack', '--image', image, again])
    await run('rm', ['-r', `${again}/rootfs/etc/motd`])
    await mkdir(`${again}/rootfs/opt`, { mode: 0o1777 })
    await run('umoci', ['repack', '--image', image, again])
    await run('umoci', ['config', '--image', image, '--config.cmd', 'sh'])
    await skopeo(
      'copy',
      '--dest-tls-verify=false',
      `oci:${image}`,
      `docker://${registry.host}/app:1`,
    )
    const tree = await treeOf(`${registry.host}/app:1`)
    expect(tree).toHaveLength(3)
    expect(await umociTree(image)).toEqual(tree)
  })

  test('are pulled as buildah builds them', async () => {
    const [containers, state] = [temp.join('containers'), temp.join('state')]
    const buildah = (...args: string[]) =>
      run('buildah', ['--storage-driver', 'vfs', '--root', containers, '--runroot', state, ...args])
    const context = temp.join('context')
    await mkdir(context)
    await writeFile(`${context}/motd`, 'by buildah')
    const { stdout } = await buildah('from', 'scratch')
    const container = stdout.trim()
    await buildah('copy', container, context, '/etc')
    await buildah(
      'config',
      '--cmd',
      'sh',
      '--label',
      'by=buildah',
      '--workingdir',
      '/etc',
      container,
    )
    const target = `docker://${registry.host}/app:1`
    await buildah('commit', '--tls-verify=false', container, 'built')
    await buildah('push', '--tls-verify=false', 'built', target)
    const image = await storage.images.pull(`${registry.host}/app:1`)
    expect(image.config.config).toMatchObject({ WorkingDir: '/etc', Labels: { by: 'buildah' } })
    await using _ = await mounted(storage.snapshotter.view(image.chain), temp.join('mnt'))
    expect(await readFile(temp.join('mnt/etc/motd'), 'utf8')).toBe('by buildah')
  })

  test('that skopeo copies into our layout are images of ours', async () => {
    const busybox = await busyboxImage()
    const { content } = storage.store.layout
    await skopeo('copy', `oci:${busybox.layout}:${busybox.name}`, `oci:${content}:alpine:3`)
    const image = await storage.images.pull('docker.io/library/alpine:3', { policy: 'never' })
    expect(image.references).toEqual(['docker.io/library/alpine:3'])
    await using _ = await mounted(storage.snapshotter.view(image.chain), temp.join('mnt'))
    expect((await describeTree(temp.join('mnt'))).length).toBeGreaterThan(100)
    await image.untag('alpine:3')
    expect((await storage.images.list({ dangling: true })).length).toBe(1)
  })
})

describe('our layout', () => {
  test('is read by skopeo under the full name', async () => {
    const busybox = await busyboxImage({ config: { Labels: { a: 'b' } } })
    const pushed = await pushLayout(busybox.layout, busybox.name, registry)
    const name = `${registry.host}/busybox:1`
    await storage.images.pull(name)
    const { content } = storage.store.layout
    const { stdout } = await skopeo('inspect', `oci:${content}:${name}`)
    expect(JSON.parse(stdout)).toMatchObject({ Digest: pushed.digest, Labels: { a: 'b' } })
    // Every blob, by its digest, into a layout of its own.
    await skopeo(
      'copy',
      '--preserve-digests',
      `oci:${content}:${name}`,
      `oci:${temp.join('out')}:x`,
    )
  })

  test('is unpacked by umoci to the same tree, file by file', async () => {
    const busybox = await busyboxImage({ layers: RICH_LAYERS })
    await pushLayout(busybox.layout, busybox.name, registry)
    const name = `${registry.host}/busybox:1`
    const tree = await treeOf(name, { links: false })
    expect(await umociTree(`${storage.store.layout.content}:${name}`, { links: false })).toEqual(
      tree,
    )
  })
})
