import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect } from 'vitest'
import type { Digest } from '../../src/oci/digest.ts'
import { Registry, type Fault, type RegistryRequest } from '../../src/registry-server/index.ts'
import { tryLock } from '../../src/store/lock.ts'
import type { ImageDocuments } from './image-layout.ts'
import { layer, type TestLayer } from './layers.ts'
import { serveImage } from './served-image.ts'
import { openStorage, type Storage } from './storage.ts'
import { temporaryDirectory, type TemporaryDirectory } from './temp.ts'

/** What tests of pulls stand on, made anew for each; it is there from the hooks on. */
export interface Pulling {
  temp: TemporaryDirectory
  storage: Storage
  /** In this process. */
  registry: Registry
  /** What it was asked, and what is to go wrong with that. */
  requests: RegistryRequest[]
  faultOf: (request: RegistryRequest) => Fault | undefined | Promise<Fault | undefined>
  /** Of the image that {@link Pulling.serve} serves. */
  reference(): string
  serve(layers: TestLayer[], extra?: Record<string, unknown>): Promise<ImageDocuments>
  blobRequests(digest: Digest): RegistryRequest[]
  /** Fails unless a pull has left nothing but half blobs, and locks that nobody holds. */
  expectNothingHalf(): Promise<void>
  partials(): Promise<string[]>
}

export function pulling(): Pulling {
  const on = {
    reference: () => `${on.registry.host}/app:1`,
    serve: (layers: TestLayer[], extra: Record<string, unknown> = {}) =>
      serveImage(on.registry, 'app', '1', { layers, extra }),
    blobRequests: (digest: Digest) =>
      on.requests.filter((request) => request.kind === 'blob' && request.digest === digest),
    expectNothingHalf: () => expectNothingHalf(on),
    async partials() {
      const names = await readdir(on.storage.store.layout.ingest)
      return names.filter((name) => !name.includes('.'))
    },
  } as Pulling
  beforeEach(async () => {
    on.temp = await temporaryDirectory()
    on.storage = await openStorage(on.temp.path)
    on.requests = []
    on.faultOf = () => undefined
    on.registry = await Registry.listen({
      intercept: (request) => {
        on.requests.push(request)
        return on.faultOf(request)
      },
    })
  })
  afterEach(async () => {
    await on.registry.close()
    await on.storage[Symbol.asyncDispose]()
    await on.temp[Symbol.asyncDispose]()
  })
  return on
}

/** Content that no compression makes small. */
export function noise(size: number): Promise<TestLayer> {
  return layer([{ name: 'noise', content: randomBytes(size) }], 'none')
}

async function expectNothingHalf({ temp, storage }: Pulling): Promise<void> {
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
