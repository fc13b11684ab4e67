import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { ExecutionParameters } from '../../src/oci/image-config.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { hostPlatform, type Platform } from '../../src/oci/platform.ts'
import type { TestLayer } from './layers.ts'

/** An image that a test writes. */
export interface TestImage {
  layers: TestLayer[]
  config?: ExecutionParameters
  /** Default: this machine's. */
  platform?: Platform
  /** Fields put over the image configuration. */
  extra?: Record<string, unknown>
}

/** The documents of an image, as descriptors and bytes. */
export interface ImageDocuments {
  manifest: Descriptor
  config: Descriptor
  blobs: { descriptor: Descriptor; bytes: Buffer }[]
}

/** Makes the configuration and the manifest of an image. The manifest is the last of `blobs`. */
export function imageDocuments(image: TestImage): ImageDocuments {
  const platform = image.platform ?? hostPlatform()
  const config = document(MEDIA_TYPES.ociConfig, {
    created: '1970-01-01T00:00:00Z',
    ...platform,
    config: image.config ?? {},
    rootfs: { type: 'layers', diff_ids: image.layers.map((layer) => layer.diffId) },
    history: image.layers.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'test' })),
    ...image.extra,
  })
  const layers = image.layers.map(({ bytes, mediaType, digest }) => ({
    descriptor: { mediaType, digest, size: bytes.length },
    bytes,
  }))
  const manifest = document(MEDIA_TYPES.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: config.descriptor,
    layers: layers.map((layer) => layer.descriptor),
  })
  return {
    manifest: manifest.descriptor,
    config: config.descriptor,
    blobs: [...layers, config, manifest],
  }
}

/** A document and the descriptor that points to it. */
export function document(mediaType: string, value: object): ImageDocuments['blobs'][number] {
  const bytes = Buffer.from(JSON.stringify(value))
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes }
}

/** Adds an image to an OCI image layout directory, which is made if there is none, under `name` (`org.opencontainers.image.ref.name`). */
export async function writeLayout(
  directory: string,
  name: string,
  image: TestImage,
): Promise<ImageDocuments> {
  const documents = imageDocuments(image)
  await mkdir(join(directory, 'blobs', 'sha256'), { recursive: true })
  for (const { descriptor, bytes } of documents.blobs) {
    await writeFile(join(directory, 'blobs', descriptor.digest.replace(':', '/')), bytes)
  }
  await addToIndex(directory, name, documents.manifest)
  return documents
}

/** Names a manifest in `index.json`. */
export async function addToIndex(
  directory: string,
  name: string,
  manifest: Descriptor,
): Promise<void> {
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const path = join(directory, 'index.json')
  const present = await readFile(path, 'utf8').catch(() => '{"schemaVersion":2,"manifests":[]}')
  const index = JSON.parse(present) as { manifests: Descriptor[] }
  index.manifests.push({
    ...manifest,
    annotations: { 'org.opencontainers.image.ref.name': name },
  })
  await writeFile(path, JSON.stringify(index))
}
