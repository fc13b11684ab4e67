import { keelsonError } from '../errors.ts'
import { printable } from '../util/printable.ts'
import {
  decodeAnnotations,
  decodeDescriptor,
  decodeMediaType,
  type Descriptor,
} from './descriptor.ts'
import { parseDocument, type DocumentNode } from './document.ts'
import {
  isConfigMediaType,
  isIndexMediaType,
  isManifestMediaType,
  isSchema1MediaType,
  layerCompression,
  MEDIA_TYPES,
  type Compression,
} from './media-types.ts'

/** No registry has to accept a larger manifest ("Pushing Manifests" in the OCI distribution specification). */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024
/** The kernel stacks at most 500 lower directories in an overlay; Docker stops at 127. */
export const MAX_LAYERS = 512
const MAX_MANIFESTS = 1024

/** An image for one platform: its configuration and its layers, lowest first. */
export interface Manifest {
  kind: 'manifest'
  mediaType: string
  config: Descriptor
  layers: Descriptor[]
  annotations?: Record<string, string>
  /** Set for things that are not images: charts, signatures, models. */
  artifactType?: string
  /** What a signature or attestation is about. */
  subject?: Descriptor
}

/** A list of manifests, usually one a platform. */
export interface Index {
  kind: 'index'
  mediaType: string
  manifests: Descriptor[]
  annotations?: Record<string, string>
}

/** A layer that Keelson can apply. */
export interface Layer {
  descriptor: Descriptor
  compression: Compression
}

/**
 * Reads a manifest or index, OCI or Docker v2 schema 2, from an untrusted source.
 *
 * A document that could be read as either kind is refused, and so is one that calls itself something else than `mediaType` does:
 * two programs must never see two images under one digest (CVE-2021-41190).
 *
 * @param mediaType what the registry or the descriptor says that it is
 * @throws `KEELSON_MANIFEST_INVALID` with the path of the offending field, or `KEELSON_MANIFEST_UNSUPPORTED` for schema 1.
 */
export function decodeManifest(bytes: Uint8Array, mediaType?: string): Manifest | Index {
  const root = parseDocument(bytes, 'manifest', MAX_MANIFEST_BYTES)
  refuseSchema1(root, mediaType)
  if (root.required('schemaVersion').integer() !== 2) {
    throw root.required('schemaVersion').unsupported('is not 2')
  }
  const type = documentType(root, mediaType)
  const isIndex = isIndexMediaType(type)
  for (const key of isIndex ? ['layers', 'config', 'fsLayers'] : ['manifests', 'fsLayers']) {
    if (root.has(key)) throw root.invalid(`calls itself ${type} but has "${key}"`)
  }
  return isIndex ? decodeIndex(root, type) : decodeImageManifest(root, type)
}

/**
 * The layers of an image, lowest first, each with its packing.
 *
 * @throws `KEELSON_MANIFEST_UNSUPPORTED` when the manifest is not an image's, or has a layer that cannot be applied.
 */
export function imageLayers(manifest: Manifest): Layer[] {
  if (!isConfigMediaType(manifest.config.mediaType)) {
    const what = printable(manifest.artifactType ?? manifest.config.mediaType)
    throw keelsonError(
      'KEELSON_MANIFEST_UNSUPPORTED',
      `This is not a container image but ${what}.`,
      {
        hint: 'Charts, signatures and other artifacts cannot be run; check the name.',
      },
    )
  }
  return manifest.layers.map((descriptor) => ({
    descriptor,
    compression: layerCompression(descriptor.mediaType),
  }))
}

function decodeImageManifest(root: DocumentNode, mediaType: string): Manifest {
  const manifest: Manifest = {
    kind: 'manifest',
    mediaType,
    config: decodeDescriptor(root.required('config')),
    // An image FROM scratch without a layer is written with null by Docker.
    layers: root.optional('layers')?.elements(MAX_LAYERS).map(decodeDescriptor) ?? [],
  }
  const annotations = decodeAnnotations(root)
  if (annotations !== undefined) manifest.annotations = annotations
  const artifactType = root.optional('artifactType')
  if (artifactType !== undefined && artifactType.value !== '') {
    manifest.artifactType = decodeMediaType(artifactType)
  }
  const subject = root.optional('subject')
  if (subject !== undefined) manifest.subject = decodeDescriptor(subject)
  return manifest
}

function decodeIndex(root: DocumentNode, mediaType: string): Index {
  const index: Index = {
    kind: 'index',
    mediaType,
    manifests: root.optional('manifests')?.elements(MAX_MANIFESTS).map(decodeDescriptor) ?? [],
  }
  const annotations = decodeAnnotations(root)
  if (annotations !== undefined) index.annotations = annotations
  return index
}

/** From the document, the caller, or, where both are silent as OCI allows, from the shape. */
function documentType(root: DocumentNode, expected: string | undefined): string {
  const field = root.optional('mediaType')
  const own = field === undefined || field.value === '' ? undefined : decodeMediaType(field)
  // Registries also send application/json and text/plain; only a type that says something can contradict.
  const said = expected !== undefined && isKnown(expected) ? expected : undefined
  if (own !== undefined && said !== undefined && own !== said) {
    throw root.invalid(`calls itself ${own} but was sent as ${said}`)
  }
  const type = own ?? said ?? shapeType(root)
  if (!isKnown(type)) throw root.unsupported(`has the unknown media type ${type}`)
  return type
}

function shapeType(root: DocumentNode): string {
  return root.has('manifests') ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest
}

function isKnown(mediaType: string): boolean {
  return isIndexMediaType(mediaType) || isManifestMediaType(mediaType)
}

function refuseSchema1(root: DocumentNode, mediaType: string | undefined): void {
  const version = root.optional('schemaVersion')
  if (
    (mediaType !== undefined && isSchema1MediaType(mediaType)) ||
    version?.value === 1 ||
    (root.has('fsLayers') && root.has('history'))
  ) {
    throw root.unsupported('uses the retired Docker schema 1', {
      hint: 'Push the image again with a current tool, or convert it with "skopeo copy --format oci".',
    })
  }
}
