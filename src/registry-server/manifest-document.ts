import { decodeDescriptor, type Descriptor } from '../oci/descriptor.ts'
import { digestOf, type Digest } from '../oci/digest.ts'
import { parseDocument } from '../oci/document.ts'
import { decodeManifest, MAX_MANIFEST_BYTES } from '../oci/manifest.ts'
import type { StoredManifest } from './repositories.ts'

/** A manifest as read from a client or a layout, with everything that it points to. */
export interface ManifestDocument extends StoredManifest {
  /** Config and layers: they must be in the same repository. */
  blobs: Digest[]
}

/** Layers that are not to be uploaded. */
const FOREIGN = /nondistributable|\.foreign\./

/**
 * Reads a manifest or index.
 *
 * @throws `KEELSON_MANIFEST_INVALID` or `KEELSON_MANIFEST_UNSUPPORTED`
 */
export function readManifest(
  content: Uint8Array,
  mediaType: string,
  digest: Digest = digestOf(content),
): ManifestDocument {
  const manifest = decodeManifest(content, mediaType)
  const root = parseDocument(content, 'manifest', MAX_MANIFEST_BYTES)
  const subject = root.optional('subject')
  const isImage = manifest.kind === 'manifest'
  const config = isImage ? manifest.config : undefined
  // "Listing Referrers": where a manifest has no artifactType, its config's media type stands for it.
  const artifactType = root.optional('artifactType')?.string() || config?.mediaType
  const descriptor: Descriptor = { mediaType: manifest.mediaType, digest, size: content.length }
  if (artifactType !== undefined) descriptor.artifactType = artifactType
  if (manifest.annotations !== undefined) descriptor.annotations = manifest.annotations
  const layers = isImage ? manifest.layers.filter((layer) => !FOREIGN.test(layer.mediaType)) : []
  return {
    descriptor,
    blobs: (config === undefined ? layers : [config, ...layers]).map((blob) => blob.digest),
    children: isImage ? [] : manifest.manifests,
    ...(subject === undefined ? {} : { subject: decodeDescriptor(subject).digest }),
  }
}
