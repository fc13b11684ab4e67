import { lstat, mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { imageFromHost } from '../../src/image/from-host.ts'
import { imageFromFiles, type ImageFromOptions } from '../../src/image/from.ts'
import type { ImageFiles } from '../../src/image/files.ts'
import { decodeImageConfig, type ExecutionParameters } from '../../src/oci/image-config.ts'
import { decodeManifest, type Manifest } from '../../src/oci/manifest.ts'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { Launcher } from '../../src/runtime/launcher.ts'
import { ContentStore } from '../../src/store/content.ts'
import { run } from '../support/process.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'

let temp: TemporaryDirectory
let launcher: Launcher
let store: ContentStore

beforeEach(async () => {
  temp = await temporaryDirectory()
  launcher = await Launcher.start()
  store = await ContentStore.open(temp.join('root'), launcher)
})

afterEach(async () => {
  await launcher.close()
  await temp[Symbol.asyncDispose]()
})

async function make(
  files: ImageFiles,
  config?: ExecutionParameters,
  options?: ImageFromOptions,
): Promise<Descriptor> {
  await using _ = await store.lease()
  return await imageFromFiles(store, files, config, options)
}

async function manifestOf(descriptor: Descriptor): Promise<Manifest> {
  const manifest = decodeManifest(await store.read(descriptor), descriptor.mediaType)
  if (manifest.kind !== 'manifest') throw new Error('an index')
  return manifest
}

/** Unpacks the only layer as root. */
async function unpack(descriptor: Descriptor): Promise<string> {
  const { layers } = await manifestOf(descriptor)
  await mkdir(temp.join('rootfs'))
  for (const { digest } of layers) {
    await run('tar', ['-xpf', store.path(digest), '--numeric-owner', '-C', temp.join('rootfs')])
  }
  return temp.join('rootfs')
}

describe('an image of files', () => {
  test('keeps content, modes, owners, times, links and long names', async () => {
    await writeFile(temp.join('tool'), '#!/bin/sh\n', { mode: 0o755 })
    const long = `/opt/${'d'.repeat(120)}/${'ü'.repeat(90)}`
    const rootfs = await unpack(
      await make({
        '/bin/tool': temp.join('tool'),
        '/etc/kernel': '/proc/version',
        '/etc/name': Buffer.from('keelson\n'),
        '/etc/shadow': { content: 'x', mode: 0, uid: 3_000_000, gid: 4_000_000_000 },
        '/usr/bin/su': { content: '', mode: 0o4755, uid: 1000, gid: 50 },
        '/etc/link': { link: '../bin/tool' },
        '/tmp': { directory: true, mode: 0o1777 },
        '/late': { content: '', mtime: new Date('2100-01-01T00:00:00.250Z') },
        [long]: { content: 'long' },
      }),
    )
    const facts = async (path: string) => {
      const { mode, uid, gid, mtimeMs } = await lstat(rootfs + path)
      return [(mode & 0o7777).toString(8), uid, gid, mtimeMs]
    }
    expect(await facts('/bin/tool')).toEqual(['755', 0, 0, 0])
    expect(await facts('/etc/shadow')).toEqual(['0', 3_000_000, 4_000_000_000, 0])
    expect(await facts('/usr/bin/su')).toEqual(['4755', 1000, 50, 0])
    expect(await facts('/tmp')).toEqual(['1777', 0, 0, 0])
    expect(await facts('/late')).toEqual(['644', 0, 0, Date.UTC(2100, 0, 1) + 250])
    expect(await facts('/etc')).toEqual(['755', 0, 0, 0])
    expect(await readlink(`${rootfs}/etc/link`)).toBe('../bin/tool')
    expect(await readFile(`${rootfs}/etc/name`, 'utf8')).toBe('keelson\n')
    expect(await readFile(`${rootfs}/etc/kernel`)).toEqual(await readFile('/proc/version'))
    expect(await readFile(rootfs + long, 'utf8')).toBe('long')
  })

  test('is the same image for the same input, in any order', async () => {
    const one = await make({ '/a': Buffer.from('a'), '/b/c': Buffer.from('c') }, { Cmd: ['/a'] })
    const two = await make({ '/b/c': Buffer.from('c'), '/a': Buffer.from('a') }, { Cmd: ['/a'] })
    expect(two).toEqual(one)
    expect(await make({ '/a': Buffer.from('a') }, { Cmd: ['/a'] })).not.toEqual(one)
  })

  test('says what it is in its configuration', async () => {
    const created = new Date('2026-01-02T03:04:05Z')
    const descriptor = await make(
      { '/a': Buffer.from('a') },
      { Entrypoint: ['/a'], Env: ['A=b'], User: '1000:1000', Labels: { x: 'y' } },
      { platform: 'linux/arm64', created, compression: 'gzip' },
    )
    const manifest = await manifestOf(descriptor)
    expect(manifest.layers.map((layer) => layer.mediaType)).toEqual([
      'application/vnd.oci.image.layer.v1.tar+gzip',
    ])
    expect(decodeImageConfig(await store.read(manifest.config))).toMatchObject({
      os: 'linux',
      architecture: 'arm64',
      created: '2026-01-02T03:04:05.000Z',
      config: { Entrypoint: ['/a'], Env: ['A=b'], User: '1000:1000', Labels: { x: 'y' } },
    })
  })

  test('is one that other tools read and unpack', async () => {
    const descriptor = await make(
      { '/bin/hello': { content: 'hello', mode: 0o755 } },
      { Cmd: ['x'] },
    )
    await store.names.set(['127.0.0.1:5000/team/hello:1'], descriptor)
    const layout = `${temp.join('root')}/content`
    const copied = temp.join('copied')
    const source = `oci:${layout}:127.0.0.1:5000/team/hello:1`
    const { stdout } = await run('skopeo', ['inspect', source])
    expect(JSON.parse(stdout)).toMatchObject({ Digest: descriptor.digest, Os: 'linux' })
    await run('skopeo', ['copy', source, `oci:${copied}:1`])
    await run('umoci', ['unpack', '--rootless', '--image', `${copied}:1`, temp.join('bundle')])
    expect(await readFile(temp.join('bundle/rootfs/bin/hello'), 'utf8')).toBe('hello')
  })

  test('that cannot be made leaves nothing', async () => {
    await expect(make({ '/a': Buffer.from(''), '/a/b': Buffer.from('') })).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
    })
    await expect(make({ '/memory': '/proc/self/mem' })).rejects.toMatchObject({
      code: 'KEELSON_IO',
    })
    const signal = AbortSignal.abort()
    await expect(make({ '/a': Buffer.from('a') }, {}, { signal })).rejects.toMatchObject({
      code: 'KEELSON_ABORTED',
    })
    expect(await readdir(`${temp.join('root')}/content/ingest`)).toEqual([])
    expect(await readdir(`${temp.join('root')}/content/blobs/sha256`)).toEqual([])
  })

  test('can be aborted while a file is read', async () => {
    await run('truncate', ['--size', '4G', temp.join('large')])
    const signal = AbortSignal.timeout(50)
    await expect(make({ '/large': temp.join('large') }, {}, { signal })).rejects.toMatchObject({
      code: 'KEELSON_ABORTED',
    })
    expect(await readdir(`${temp.join('root')}/content/ingest`)).toEqual([])
  })
})

test('an image of host programs takes more files, and a configuration over its own', async () => {
  await using _ = await store.lease()
  const descriptor = await imageFromHost(
    store,
    ['sh'],
    { Entrypoint: ['sh', '/bin/greet'], Cmd: [] },
    { files: { '/bin/greet': { content: 'echo "hello $1"\n', mode: 0o755 } } },
  )
  const manifest = await manifestOf(descriptor)
  const { config } = decodeImageConfig(await store.read(manifest.config))
  expect(config).toMatchObject({ Entrypoint: ['sh', '/bin/greet'], WorkingDir: '/' })
  const rootfs = await unpack(descriptor)
  const { stdout } = await run('chroot', [rootfs, '/bin/sh', '/bin/greet', 'host'])
  expect(stdout).toBe('hello host\n')
})
