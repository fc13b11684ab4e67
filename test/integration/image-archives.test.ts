import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PushProgress } from '../../src/index.ts'
import { dockerRegistry, type DockerRegistry } from '../support/docker-registry.ts'
import { busyboxFiles, testEngine, type TestEngine } from '../support/engine.ts'
import { tar } from '../support/layers.ts'
import { run } from '../support/process.ts'
import { temporaryDirectory } from '../support/temp.ts'

const coded = (code: string) => expect.objectContaining({ code })

let test: TestEngine
let registry: DockerRegistry
beforeAll(async () => {
  test = await testEngine()
  registry = await dockerRegistry()
})
afterAll(async () => {
  await test?.[Symbol.asyncDispose]()
  await registry?.[Symbol.asyncDispose]()
})

describe('saved images', () => {
  it('are loaded again, the same to the digest, plain and gzip, from a path and a stream', async () => {
    await using temp = await temporaryDirectory()
    const image = await test.image.tag('saved:1')
    await pipeline(image.save(), createWriteStream(temp.join('image.tar')))
    await using other = await testEngine()
    const [loaded] = await other.engine.images.load(temp.join('image.tar'))
    expect(loaded).toMatchObject({
      digest: image.digest,
      references: ['docker.io/library/saved:1'],
    })
    const again = await other.engine.images.load(
      Readable.from([gzipSync(await buffer(image.save(['docker.io/library/renamed:2'])))]),
    )
    expect(again.map(({ references }) => references)).toEqual([
      ['docker.io/library/renamed:2', 'docker.io/library/saved:1'],
    ])
    expect((await other.engine.run('saved:1', ['echo', 'runs'])).stdout).toBe('runs\n')
  })

  it('are what other tools read and write', async () => {
    await using temp = await temporaryDirectory()
    const image = await test.image.tag('tools:1')
    await pipeline(image.save(['tools:1']), createWriteStream(temp.join('image.tar')))
    // As Docker's format and as a layout: two readers, one archive.
    const docker = await run('skopeo', [
      'inspect',
      '--raw',
      `docker-archive:${temp.join('image.tar')}`,
    ])
    expect(JSON.parse(docker.stdout)).toMatchObject({ schemaVersion: 2 })
    const oci = await run('skopeo', ['inspect', '--raw', `oci-archive:${temp.join('image.tar')}`])
    expect(JSON.parse(oci.stdout)).toMatchObject({
      layers: [{ size: expect.any(Number) as number }],
    })
    const from = `oci-archive:${temp.join('image.tar')}`
    await run('skopeo', ['copy', from, `docker-archive:${temp.join('old.tar')}:old:1`])
    await run('skopeo', [
      'copy',
      from,
      `oci-archive:${temp.join('new.tar')}:docker.io/library/new:1`,
    ])
    await using other = await testEngine()
    const [old] = await other.engine.images.load(temp.join('old.tar'))
    expect(old?.references).toEqual(['docker.io/library/old:1'])
    const [fresh] = await other.engine.images.load(temp.join('new.tar'))
    expect(fresh?.references).toEqual(['docker.io/library/new:1'])
    expect((await other.engine.run('old:1', ['echo', 'runs'])).stdout).toBe('runs\n')
  })

  it('are refused when they are none', async () => {
    const { images } = test.engine
    await expect(images.load(Buffer.from('nonsense'.repeat(200)))).rejects.toEqual(
      coded('KEELSON_ARCHIVE_INVALID'),
    )
    await expect(images.load(tar([{ name: 'a', content: 'x' }]))).rejects.toEqual(
      coded('KEELSON_ARCHIVE_INVALID'),
    )
    const manifest = JSON.stringify([
      { Config: '../../../etc/passwd', RepoTags: ['x:1'], Layers: ['/etc/shadow'] },
    ])
    const link = { name: 'layer', type: '2', linkname: '/etc/passwd' }
    await expect(
      images.load(tar([link, { name: 'manifest.json', content: manifest }])),
    ).rejects.toEqual(coded('KEELSON_ARCHIVE_INVALID'))
    await expect(images.load('/no/such/file')).rejects.toEqual(coded('KEELSON_IO'))
    await expect(images.load(Buffer.from(''), { signal: AbortSignal.abort() })).rejects.toEqual(
      coded('KEELSON_ABORTED'),
    )
  })
})

it('an exported container is imported as the same tree', async () => {
  await using container = await test.engine.containers.create({
    image: test.image,
    command: ['true'],
  })
  const strange = Buffer.from([0x2f, 0x74, 0x6d, 0x70, 0x2f, 0x0a, 0xfe])
  await container.files.writeFile(strange, 'strange', { uid: 3_000_000, gid: 7, mode: 0o4711 })
  await container.files.mkdir('/deep/er', { recursive: true, mode: 0o1733 })
  const [first, second] = [await buffer(container.export()), await buffer(container.export())]
  expect(first.equals(second)).toBe(true)
  for (const source of [
    first,
    gzipSync(first),
    Readable.from([first.subarray(0, 3), first.subarray(3)]),
  ]) {
    const image = await test.engine.images.import(source, {
      config: { Cmd: ['sh', '-c', 'ls -A /deep; stat -c "%a %u" /tmp/*'] },
      message: 'by hand',
    })
    await using copy = await test.engine.containers.create({ image })
    expect(afterRoot(await buffer(copy.export())).equals(afterRoot(first))).toBe(true)
    expect((await test.engine.run(image)).stdout).toBe('er\n4711 3000000\n')
    expect(await image.history()).toMatchObject([{ comment: 'by hand' }])
  }
  await expect(test.engine.images.import(Buffer.alloc(0))).rejects.toEqual(
    coded('KEELSON_ARCHIVE_INVALID'),
  )
})

/** Without the entry of the root, whose time is that of each container's writable layer. */
function afterRoot(archive: Buffer): Buffer {
  const extended = archive[156] === 'x'.charCodeAt(0)
  const size = Number.parseInt(archive.toString('latin1', 124, 135), 8)
  return archive.subarray(extended ? 1024 + Math.ceil(size / 512) * 512 : 512)
}

describe('pushed images', () => {
  it('are in the registry as they are here, and are not sent twice', async () => {
    const { engine } = test
    const image = await engine.images.from(
      { ...busyboxFiles(), '/large': Buffer.alloc(3_000_000, 7) },
      { Cmd: ['sh'] },
      { compression: 'gzip' },
    )
    const name = `${registry.host}/first/app:1`
    const steps: PushProgress[] = []
    const pushed = await image.push(name, { onProgress: (step) => steps.push(step) })
    expect(pushed).toEqual({ reference: name, digest: image.digest })
    const blobs = (await image.inspect()).layers.map(({ digest }) => digest)
    expect(steps[0]).toMatchObject({ status: 'waiting' })
    for (const blob of [...blobs, image.id]) {
      const own = steps.filter((step) => step.blob === blob)
      expect(own.at(-1)).toMatchObject({ status: 'done' })
      expect(own.at(-1)?.current).toBe(own.at(-1)?.total)
    }
    const inspected = await run('skopeo', [
      'inspect',
      '--tls-verify=false',
      '--format',
      '{{.Digest}}',
      `docker://${name}`,
    ])
    expect(inspected.stdout.trim()).toBe(image.digest)
    const again: PushProgress[] = []
    await image.push(name, { onProgress: (step) => again.push(step) })
    expect(new Set(again.map(({ status }) => status))).toEqual(new Set(['waiting', 'exists']))
    await image.remove()
    expect((await engine.images.pull(name)).digest).toBe(image.digest)
  })

  it('are mounted from a repository that has them', async () => {
    const image = await test.engine.images.pull(`${registry.host}/first/app:1`)
    const steps: PushProgress[] = []
    await image.push(`${registry.host}/second/app:1`, { onProgress: (step) => steps.push(step) })
    expect(new Set(steps.map(({ status }) => status))).toEqual(new Set(['waiting', 'mounted']))
  })

  it('can be commits of containers, and are pulled by others', async () => {
    await using container = await test.engine.containers.create({
      image: test.image,
      command: ['true'],
    })
    await container.files.writeFile('/made', 'by hand')
    const name = `${registry.host}/committed:1`
    const image = await container.commit({
      reference: name,
      changes: { Cmd: ['cat', '/made'] },
      compression: 'gzip',
    })
    await image.push()
    await using temp = await temporaryDirectory()
    await run('skopeo', [
      'copy',
      '--src-tls-verify=false',
      `docker://${name}`,
      `oci:${temp.join('layout')}:x`,
    ])
    await using other = await testEngine()
    expect((await other.engine.run(name)).stdout).toBe('by hand')
  })

  it('fail by name', async () => {
    await expect(test.image.push()).rejects.toEqual(coded('KEELSON_INVALID_REFERENCE'))
    await expect(test.image.push('127.0.0.1:1/app:1')).rejects.toEqual(
      coded('KEELSON_REGISTRY_UNREACHABLE'),
    )
    await using closed = await dockerRegistry({ auth: { username: 'user', password: 'right' } })
    await expect(test.image.push(`${closed.host}/app:1`)).rejects.toEqual(
      coded('KEELSON_REGISTRY_UNAUTHORIZED'),
    )
    const auth = { username: 'user', password: 'right' }
    const pushed = await test.image.push(`${closed.host}/app:1`, { auth })
    expect(pushed.digest).toBe(test.image.digest)
    const abort = new AbortController()
    const aborted = test.image.push(`${registry.host}/aborted:1`, {
      onProgress: ({ status }) => status === 'uploading' && abort.abort(),
      signal: abort.signal,
    })
    await expect(aborted).rejects.toEqual(coded('KEELSON_ABORTED'))
  })
})
