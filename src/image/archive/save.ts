import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Pack } from 'tar-stream'
import type { Descriptor } from '../../oci/descriptor.ts'
import { digestAlgorithm, digestHex, type Digest } from '../../oci/digest.ts'
import { MEDIA_TYPES } from '../../oci/media-types.ts'
import { parseReference } from '../../oci/reference.ts'
import type { ContentStore } from '../../store/content.ts'
import { storageError } from '../../store/errno.ts'
import { REF_NAME } from '../../store/names.ts'
import { abortedError } from '../../util/abort.ts'
import { describe } from '../pull.ts'
import type { ImageDocuments } from '../documents.ts'

/** The annotation by which containerd and Docker find an image's full name. */
export const IMAGE_NAME = 'io.containerd.image.name'

/**
 * An image as one archive: an OCI image layout that is Docker's format, too, so that `docker load`, `podman load`, `skopeo` and
 * `engine.images.load` read it. The stream holds `lease` until it ends.
 */
export function saveImage(
  store: ContentStore,
  image: Promise<ImageDocuments>,
  names: readonly string[],
  { lease, signal }: { lease: () => Promise<AsyncDisposable>; signal?: AbortSignal | undefined },
): Readable {
  const readable = Readable.from(archive(store, image, names, lease), {
    objectMode: false,
    highWaterMark: 256 * 1024,
  })
  if (signal === undefined) return readable
  const abort = () => readable.destroy(abortedError(signal, 'Saving the image'))
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  return readable.once('close', () => signal.removeEventListener('abort', abort))
}

async function* archive(
  store: ContentStore,
  image: Promise<ImageDocuments>,
  names: readonly string[],
  lease: () => Promise<AsyncDisposable>,
): AsyncGenerator<Uint8Array, void> {
  await using _ = await lease()
  const { pack } = await import('tar-stream')
  const tar = pack()
  const added = addImage(tar, store, await image, names).catch((error: unknown) => {
    tar.destroy(error instanceof Error ? error : new Error(String(error)))
  })
  try {
    for await (const chunk of tar) yield chunk as Uint8Array
  } finally {
    tar.destroy()
    await added
  }
}

async function addImage(
  tar: Pack,
  store: ContentStore,
  image: ImageDocuments,
  names: readonly string[],
): Promise<void> {
  const { descriptor, manifest, layers } = image
  const blobs = new Map<Digest, Descriptor>()
  for (const each of [descriptor, manifest.config, ...layers.map((layer) => layer.descriptor)]) {
    blobs.set(each.digest, each)
  }
  for (const directory of [
    'blobs/',
    ...new Set([...blobs.keys()].map((d) => `blobs/${digestAlgorithm(d)}/`)),
  ]) {
    await entry(tar, { name: directory, type: 'directory', mode: 0o755, mtime: EPOCH })
  }
  for (const blob of blobs.values()) await addBlob(tar, store, blob)
  const entries = names.length === 0 ? [describe(image)] : names.map((name) => named(image, name))
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: entries }
  await addText(tar, 'index.json', JSON.stringify(index))
  const docker = {
    Config: blobPath(manifest.config.digest),
    RepoTags: names.map((name) => familiar(name)).filter((name) => name !== undefined),
    Layers: layers.map((layer) => blobPath(layer.descriptor.digest)),
  }
  await addText(tar, 'manifest.json', JSON.stringify([docker]))
  await addText(tar, 'oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  tar.finalize()
}

async function addBlob(
  tar: Pack,
  store: ContentStore,
  { digest, size }: Descriptor,
): Promise<void> {
  const path = store.path(digest)
  try {
    const header = { name: blobPath(digest), size, mode: 0o644, mtime: EPOCH }
    await pipeline(createReadStream(path, { highWaterMark: 256 * 1024 }), tar.entry(header))
  } catch (error) {
    throw storageError(error, 'read', path)
  }
}

async function addText(tar: Pack, name: string, text: string): Promise<void> {
  await entry(tar, { name, mode: 0o644, mtime: EPOCH }, text)
}

async function entry(
  tar: Pack,
  header: Parameters<Pack['entry']>[0],
  text?: string,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const done = (error?: unknown) => (error instanceof Error ? reject(error) : resolve())
    if (text === undefined) tar.entry(header, done)
    else tar.entry(header, text, done)
  })
}

function named(image: ImageDocuments, name: string): Descriptor {
  const descriptor = describe(image)
  return { ...descriptor, annotations: { [IMAGE_NAME]: name, [REF_NAME]: name } }
}

function familiar(name: string): string | undefined {
  const reference = parseReference(name)
  return reference.tag === undefined ? undefined : reference.familiar()
}

const blobPath = (digest: Digest) => `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`

/** The same image gives the same archive. */
const EPOCH = new Date(0)
