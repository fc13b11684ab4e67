import { createReadStream } from 'node:fs'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { Reference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { RegistryAuth } from '../registry/options.ts'
import type { ContentStore } from '../store/content.ts'
import { storageError } from '../store/errno.ts'
import { throwIfAborted } from '../util/abort.ts'
import type { ImageDocuments } from './documents.ts'
import { together } from './layers.ts'

export interface PushOptions {
  /** Default: what the engine's `registries` and Docker's and Podman's files know for the host. */
  auth?: RegistryAuth
  /** Hears each step of each blob. */
  onProgress?: (progress: PushProgress) => void
  signal?: AbortSignal
}

/** `exists`: the repository has it. `mounted`: the registry took it from another of its repositories. */
export type PushStatus = 'waiting' | 'uploading' | 'done' | 'exists' | 'mounted'

/** One step of a push. */
export interface PushProgress {
  /** A layer's, or the configuration's. */
  blob: Digest
  status: PushStatus
  /** Bytes sent, all of them when there was no need to. */
  current: number
  total: number
}

/** What a push made. */
export interface PushedImage {
  /** Where it is: with its tag. */
  reference: string
  digest: Digest
}

/** What pushing needs of a registry client. */
export type PushRegistry = Pick<RegistryClient, 'pushBlob' | 'pushManifest'>

/**
 * Brings an image into a registry: what is missing there of its blobs first, its manifest last, so that whoever finds it finds all of it.
 * The caller holds a lease on the store.
 *
 * @param repositories of the same registry that may have a blob
 */
export async function pushImage(
  store: ContentStore,
  registry: PushRegistry,
  image: ImageDocuments,
  reference: Reference,
  repositories: ReadonlyMap<Digest, string>,
  options: PushOptions,
): Promise<PushedImage> {
  const { auth, signal } = options
  const blobs = new Map<Digest, Descriptor>()
  for (const { descriptor } of image.layers) blobs.set(descriptor.digest, descriptor)
  blobs.set(image.manifest.config.digest, image.manifest.config)
  // Read, and so proved, before anything is sent.
  const bytes = await store.read(image.descriptor)
  const broken = new AbortController()
  const report = (blob: Descriptor) => reporter(blob, options, (error) => broken.abort(error))
  const all = [...blobs.values()].map((blob) => [blob, report(blob)] as const)
  for (const [, tell] of all) tell('waiting', 0)
  await together(
    signal === undefined ? broken.signal : AbortSignal.any([signal, broken.signal]),
    all.map(([blob, tell]) => async (own) => {
      const path = store.path(blob.digest)
      const outcome = await registry.pushBlob(reference, blob, () => fileOf(path), {
        auth,
        signal: own,
        mountFrom: repositories.get(blob.digest),
        onProgress: (sent) => tell('uploading', sent),
      })
      tell(outcome === 'uploaded' ? 'done' : outcome, blob.size)
    }),
  )
  throwIfAborted(signal, `The push of ${reference.toString()}`)
  await registry.pushManifest(reference, { descriptor: image.descriptor, bytes }, { auth, signal })
  return { reference: reference.toString(), digest: image.descriptor.digest }
}

async function* fileOf(path: string): AsyncGenerator<Uint8Array, void> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) {
      yield chunk as Uint8Array
    }
  } catch (error) {
    throw storageError(error, 'read', path)
  }
}

const STEPS = 100

/** At most a hundred steps of one status, and never one after the last. */
function reporter(
  { digest, size }: Descriptor,
  { onProgress }: PushOptions,
  onFailure: (error: unknown) => void,
): (status: PushStatus, current: number) => void {
  let last: PushProgress | undefined
  return (status, current) => {
    const far = last === undefined || Math.abs(current - last.current) >= size / STEPS
    if (status === last?.status && !(far && current !== last.current)) return
    last = { blob: digest, status, current, total: size }
    try {
      onProgress?.(last)
    } catch (error) {
      onFailure(error)
    }
  }
}
