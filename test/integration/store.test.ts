import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { Launcher } from '../../src/runtime/launcher.ts'
import { ContentStore } from '../../src/store/content.ts'
import { sweep, type SweepOptions } from '../../src/store/gc.ts'
import { acquireLock, tryLock } from '../../src/store/lock.ts'
import { run, stop } from '../support/process.ts'
import { inProcess, program } from '../support/storage.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'

const OCTETS = 'application/octet-stream'
const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251))
const blob: Descriptor = { mediaType: OCTETS, digest: digestOf(bytes), size: bytes.length }

let temp: TemporaryDirectory
let launcher: Launcher
let store: ContentStore

beforeEach(async () => {
  temp = await temporaryDirectory()
  launcher = await Launcher.start()
  store = await ContentStore.open(temp.path, launcher)
})
afterEach(async () => {
  await launcher.close()
  await temp[Symbol.asyncDispose]()
})

/** A source that remembers where it was asked to begin. */
function from(content: Buffer, offsets: number[] = []) {
  return async function* (offset: number) {
    offsets.push(offset)
    for (let at = offset; at < content.length; at += 10_000) {
      yield content.subarray(at, at + 10_000)
    }
  }
}

const ingests = () => readdir(store.layout.ingest)
const partials = async () => (await ingests()).filter((name) => !name.endsWith('.lock'))

describe('ingest', () => {
  test('keeps a blob under its digest, whole', async () => {
    const seen: number[] = []
    await store.ingest(blob, from(bytes), { onProgress: (size) => seen.push(size) })
    expect(bytes.equals(await readFile(store.path(blob.digest)))).toBe(true)
    expect(bytes.equals(await store.read(blob))).toBe(true)
    expect(seen.at(-1)).toBe(bytes.length)
    expect(await ingests()).toEqual([])
  })

  test('knows sha512, too', async () => {
    const other = { ...blob, digest: digestOf(bytes, 'sha512') }
    await store.ingest(other, from(bytes))
    expect(bytes.equals(await store.read(other))).toBe(true)
    expect(await readdir(store.layout.blobs('sha512'))).toHaveLength(1)
  })

  test('does not ask for what is here', async () => {
    const offsets: number[] = []
    await store.ingest(blob, from(bytes))
    await store.ingest(blob, from(bytes, offsets))
    expect(offsets).toEqual([])
  })

  test('goes on where an interrupted ingest stopped', async () => {
    const offsets: number[] = []
    await writeFile(store.layout.partial(blob.digest), bytes.subarray(0, 123_456))
    await store.ingest(blob, from(bytes, offsets))
    expect(offsets).toEqual([123_456])
    expect(bytes.equals(await store.read(blob))).toBe(true)
  })

  test('finishes a half blob that lacked nothing but its name', async () => {
    const offsets: number[] = []
    await writeFile(store.layout.partial(blob.digest), bytes)
    await store.ingest(blob, from(bytes, offsets))
    expect(offsets).toEqual([])
    expect(bytes.equals(await store.read(blob))).toBe(true)
  })

  test('deletes a half blob with foreign bytes once they are found out', async () => {
    await writeFile(store.layout.partial(blob.digest), Buffer.alloc(1000, 'x'))
    const attempt = store.ingest(blob, from(bytes))
    await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_DIGEST_MISMATCH', resumed: 1000 })
    expect(await partials()).toEqual([])
    await store.ingest(blob, from(bytes))
    expect(await store.has(blob.digest)).toBe(true)
  })

  test('begins anew when the half blob is longer than the whole', async () => {
    const offsets: number[] = []
    await writeFile(store.layout.partial(blob.digest), Buffer.alloc(blob.size + 1))
    await store.ingest(blob, from(bytes, offsets))
    expect(offsets).toEqual([0])
  })

  test('refuses other bytes', async () => {
    const other = Buffer.from(bytes)
    other[150_000] = 0xff
    const attempt = store.ingest(blob, from(other))
    await expect(attempt).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: blob.digest,
    })
    expect(await store.has(blob.digest)).toBe(false)
    expect(await partials()).toEqual([])
  })

  test('refuses more bytes than there should be, without writing them', async () => {
    const attempt = store.ingest(blob, from(Buffer.concat([bytes, Buffer.alloc(1 << 20)])))
    await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_SIZE_MISMATCH' })
    expect(await partials()).toEqual([])
  })

  test('keeps too few bytes to go on from', async () => {
    const attempt = store.ingest(blob, from(bytes.subarray(0, 100_000)))
    await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_SIZE_MISMATCH' })
    const offsets: number[] = []
    await store.ingest(blob, from(bytes, offsets))
    expect(offsets).toEqual([100_000])
  })

  test('says so when a known blob is to have another size', async () => {
    await store.ingest(blob, from(bytes))
    const attempt = store.ingest({ ...blob, size: 1 }, from(bytes))
    await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_SIZE_MISMATCH' })
  })

  test('leaves no lock when it is aborted, and a half blob to go on from', async () => {
    const controller = new AbortController()
    const attempt = store.ingest(blob, from(bytes), {
      signal: controller.signal,
      onProgress: (size) => {
        if (size > 200_000) controller.abort()
      },
    })
    await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
    const lock = await tryLock(launcher, store.layout.partialLock(blob.digest), 'exclusive')
    expect(lock).toBeDefined()
    await lock?.release()
    const offsets: number[] = []
    await store.ingest(blob, from(bytes, offsets))
    expect(offsets[0]).toBeGreaterThan(200_000)
  })

  test('gives up waiting for another writer at an abort', async () => {
    await using _ = await acquireLock(launcher, store.layout.partialLock(blob.digest), 'exclusive')
    const attempt = store.ingest(blob, from(bytes), { signal: AbortSignal.timeout(50) })
    await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
  })

  test('has one writer among all processes', async () => {
    const source = `
      const descriptor = ${JSON.stringify(blob)}
      let asked = 0
      await store.ingest(descriptor, async function* (offset) {
        asked++
        const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251))
        for (let at = offset; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000)
      })
      print(asked)
    `
    const all = await Promise.all([1, 2, 3].map(() => inProcess(temp.path, source)))
    expect(all.map(({ stdout }) => stdout.trim()).sort()).toEqual(['0', '0', '1'])
    expect(bytes.equals(await store.read(blob))).toBe(true)
  })

  test('goes on after a SIGKILL of Node, in another process', async () => {
    const source = `
      await store.ingest(${JSON.stringify(blob)}, async function* () {
        yield Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251))
        yield Buffer.alloc(0)
        print('half')
        await new Promise((resolve) => setTimeout(resolve, 600_000))
      })
    `
    const child = spawn(
      process.execPath,
      ['--input-type=module', '--eval', program(temp.path, source)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await once(child.stdout, 'data')
    await stop(child, 'SIGKILL')
    const offsets: number[] = []
    await store.ingest(blob, from(bytes, offsets))
    expect(offsets).toHaveLength(1)
    expect(offsets[0]).toBeLessThanOrEqual(100_000)
    expect(bytes.equals(await store.read(blob))).toBe(true)
  })

  test('names a full disk, and frees what it took', async () => {
    await using disk = await smallDisk(temp.join('disk'), 'size=256k')
    const small = await ContentStore.open(disk.path, launcher)
    const attempt = small.ingest(blob, from(bytes))
    await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_NO_SPACE', status: 507 })
    const names = await readdir(small.layout.ingest)
    expect(names.filter((name) => !name.endsWith('.lock'))).toEqual([])
  })

  test('names a read-only file system', async () => {
    await using disk = await smallDisk(temp.join('disk'), 'size=4m')
    const small = await ContentStore.open(disk.path, launcher)
    await run('mount', ['-o', 'remount,ro', disk.path])
    const attempt = small.ingest(blob, from(bytes))
    await expect(attempt).rejects.toMatchObject({ code: 'KEELSON_PERMISSION' })
    await expect(ContentStore.open(join(disk.path, 'other'), launcher)).rejects.toMatchObject({
      code: 'KEELSON_PERMISSION',
    })
  })
})

describe('names', () => {
  const descriptor = { ...blob, mediaType: 'application/vnd.oci.image.manifest.v1+json' }

  test('are in index.json, in full', async () => {
    await store.names.set(['docker.io/library/alpine:3'], descriptor)
    const index = JSON.parse(await readFile(store.layout.index, 'utf8')) as {
      manifests: Descriptor[]
    }
    expect(index.manifests[0]?.annotations).toEqual({
      'org.opencontainers.image.ref.name': 'docker.io/library/alpine:3',
    })
    expect((await store.names.get('docker.io/library/alpine:3'))?.digest).toBe(blob.digest)
  })

  test('move, and what had them stays', async () => {
    const other = { ...descriptor, digest: digestOf('other'), size: 5 }
    await store.names.set(['docker.io/a/b:1'], descriptor)
    await store.names.set(['docker.io/a/b:1'], other)
    const entries = await store.names.entries()
    expect(entries.map(({ name, descriptor: { digest } }) => [name, digest])).toEqual([
      [undefined, blob.digest],
      ['docker.io/a/b:1', other.digest],
    ])
    await store.names.unset(['docker.io/a/b:1'])
    expect((await store.names.entries()).map((entry) => entry.name)).toEqual([undefined, undefined])
    await store.names.forget([blob.digest, other.digest])
    expect(await store.names.entries()).toEqual([])
  })

  test('given by many processes at once are all kept', async () => {
    const writers = [0, 20, 40].map((first) => {
      const source = `
        for (let index = ${first}; index < ${first + 20}; index++) {
          await store.names.set(['docker.io/x/y:' + index], ${JSON.stringify(descriptor)})
        }
      `
      return inProcess(temp.path, source)
    })
    await Promise.all(writers)
    expect(await store.names.entries()).toHaveLength(60)
  })

  test('given by another process are seen at once', async () => {
    expect(await store.names.get('docker.io/x/y:1')).toBeUndefined()
    for (const name of ['docker.io/x/y:1', 'docker.io/x/y:2']) {
      const names = JSON.stringify([name])
      await inProcess(temp.path, `await store.names.set(${names}, ${JSON.stringify(descriptor)})`)
      expect(await store.names.get(name)).toBeDefined()
    }
  })

  test.each([
    ['empty', ''],
    ['cut', '{"schemaVersion":2,"manifests":[{"mediaType":"appl'],
    ['zeroed', '\0'.repeat(400)],
    ['foreign', '{"manifests":"none"}'],
  ])('survive an index that is %s', async (_, damaged) => {
    await store.names.set(['docker.io/a/b:1'], descriptor)
    await store.names.set(['docker.io/a/b:2'], descriptor)
    await writeFile(store.layout.index, damaged)
    const again = await ContentStore.open(temp.path, launcher)
    // The state before the last change.
    expect((await again.names.entries()).map((entry) => entry.name)).toEqual(['docker.io/a/b:1'])
    expect(await readFile(`${store.layout.index}.damaged`, 'utf8')).toBe(damaged)
    await again.names.set(['docker.io/a/b:2'], descriptor)
    expect(await again.names.get('docker.io/a/b:2')).toBeDefined()
    expect(await store.names.get('docker.io/a/b:2')).toBeDefined()
  })

  test('survive the loss of the index', async () => {
    await truncate(store.layout.index)
    const again = await ContentStore.open(temp.path, launcher)
    expect(await again.names.entries()).toEqual([])
  })

  test('of SIGKILLed writers are there or not, and the index always is', async () => {
    const source = `
      print('ready')
      for (let index = 0; ; index++) {
        await store.names.set(['docker.io/x/y:' + (index % 50)], ${JSON.stringify(descriptor)})
        await store.names.unset(['docker.io/x/y:' + ((index + 25) % 50)])
      }
    `
    for (let round = 0; round < 5; round++) {
      const child = spawn(
        process.execPath,
        ['--input-type=module', '--eval', program(temp.path, source)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      await once(child.stdout, 'data')
      // Some changes by ourselves meanwhile: the child is at another instant each round.
      for (let own = 0; own <= round; own++)
        await store.names.set([`docker.io/own/x:${own}`], descriptor)
      await stop(child, 'SIGKILL')
      const again = await ContentStore.open(temp.path, launcher)
      expect(await again.names.get(`docker.io/own/x:${round}`)).toBeDefined()
    }
    await expect(stat(`${store.layout.index}.damaged`)).rejects.toThrow('ENOENT')
  })
})

describe('sweep', () => {
  const options: SweepOptions = {
    expand: async ({ digest }) => ({ blobs: [digest], chain: [] }),
    snapshots: [],
    partials: 'all',
    wait: true,
  }

  test('takes what no name leads to', async () => {
    const kept = await store.write('kept', OCTETS)
    const held = await store.write('held', OCTETS)
    const gone = await store.write('gone', OCTETS)
    await store.names.set(['docker.io/a/b:1'], kept)
    await writeFile(store.layout.partial(blob.digest), 'half')
    await writeFile(join(store.layout.blobs('sha256'), 'not-a-blob'), '')
    await writeFile(`${store.layout.index}.0123.tmp`, 'of a killed writer')
    const swept = await sweep(store, launcher, { ...options, held: async () => [held] })
    expect(swept).toEqual({ blobs: [gone.digest], snapshots: [], bytes: 8 })
    expect(await store.has(kept.digest)).toBe(true)
    expect(await store.has(held.digest)).toBe(true)
    expect(await readdir(store.layout.blobs('sha256'))).toContain('not-a-blob')
    expect(await ingests()).toEqual([])
    const files = (await readdir(store.layout.content)).sort()
    expect(files).toEqual(['blobs', 'index.json', 'index.json.previous', 'ingest', 'oci-layout'])
  })

  test('keeps half blobs that somebody may go on with', async () => {
    await writeFile(store.layout.partial(blob.digest), 'half')
    await sweep(store, launcher, { ...options, partials: 'old' })
    expect(await partials()).toHaveLength(1)
  })

  test('waits for who adds content that has no name yet', async () => {
    const lease = await store.lease()
    const fresh = await store.write('fresh', OCTETS)
    expect(await sweep(store, launcher, { ...options, wait: false })).toBeUndefined()
    const sweeping = sweep(store, launcher, options)
    await store.names.set(['docker.io/a/b:1'], fresh)
    await lease.release()
    expect((await sweeping)?.blobs).toEqual([])
    expect(await store.has(fresh.digest)).toBe(true)
  })
})

async function smallDisk(path: string, size: string): Promise<AsyncDisposable & { path: string }> {
  await mkdir(path)
  await run('mount', ['-t', 'tmpfs', '-o', size, 'tmpfs', path])
  return {
    path,
    async [Symbol.asyncDispose]() {
      await run('umount', [path])
    },
  }
}
