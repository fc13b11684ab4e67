import type { Registry } from '../../src/registry-server/index.ts'
import { imageDocuments, type ImageDocuments, type TestImage } from './image-layout.ts'

/** Puts an image into a registry of this process. Nothing of it is checked: it may be one that no registry would take. */
export async function serveImage(
  registry: Registry,
  repository: string,
  tag: string | undefined,
  image: TestImage,
): Promise<ImageDocuments> {
  const documents = imageDocuments(image)
  for (const { descriptor, bytes } of documents.blobs.slice(0, -1)) {
    await registry.addBlob(repository, bytes, descriptor.mediaType)
  }
  const manifest = documents.blobs.at(-1)
  if (manifest === undefined) throw new Error('an image has a manifest')
  await registry.addManifest(repository, tag, manifest.bytes, manifest.descriptor.mediaType)
  return documents
}
