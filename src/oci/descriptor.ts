import { parseDigest, type Digest } from './digest.ts'
import type { DocumentNode } from './document.ts'
import { isMediaType } from './media-types.ts'
import type { Platform } from './platform.ts'

const MAX_ANNOTATIONS = 1024
const MAX_URLS = 128
const MAX_FEATURES = 128

/** Points at content: what it is, how it is named, how long it is (`descriptor.md` of the OCI image specification). */
export interface Descriptor {
  mediaType: string
  digest: Digest
  /** Bytes. */
  size: number
  /** In an index: what the image runs on. */
  platform?: Platform
  annotations?: Record<string, string>
  /** Where else the content is said to be. Keelson never follows them. */
  urls?: string[]
  artifactType?: string
}

/** Reads a descriptor out of an untrusted document. */
export function decodeDescriptor(node: DocumentNode): Descriptor {
  const descriptor: Descriptor = {
    mediaType: decodeMediaType(node.required('mediaType')),
    digest: decodeDigest(node.required('digest')),
    size: node.required('size').integer(0),
  }
  const platform = node.optional('platform')
  if (platform !== undefined) descriptor.platform = decodePlatform(platform)
  const annotations = node.optional('annotations')
  if (annotations !== undefined) descriptor.annotations = annotations.strings(MAX_ANNOTATIONS)
  const urls = node.optional('urls')
  if (urls !== undefined) descriptor.urls = urls.elements(MAX_URLS).map((url) => url.string())
  // Docker and older tools write an empty string for "none".
  const artifactType = node.optional('artifactType')
  if (artifactType !== undefined && artifactType.value !== '') {
    descriptor.artifactType = decodeMediaType(artifactType)
  }
  return descriptor
}

export function decodeAnnotations(node: DocumentNode): Record<string, string> | undefined {
  return node.optional('annotations')?.strings(MAX_ANNOTATIONS)
}

export function decodeMediaType(node: DocumentNode): string {
  const mediaType = node.string()
  if (!isMediaType(mediaType)) throw node.invalid('is not a media type')
  return mediaType
}

export function decodeDigest(node: DocumentNode): Digest {
  try {
    return parseDigest(node.string())
  } catch (cause) {
    throw node.invalid('is not a sha256 or sha512 digest', { cause })
  }
}

/** The fields that an index and an image config share. */
export function decodePlatform(node: DocumentNode): Platform {
  const platform: Platform = {
    os: node.required('os').string(),
    architecture: node.required('architecture').string(),
  }
  const variant = node.optional('variant')?.string()
  if (variant !== undefined && variant !== '') platform.variant = variant
  const version = node.optional('os.version')?.string()
  if (version !== undefined && version !== '') platform['os.version'] = version
  const features = node.optional('os.features')?.elements(MAX_FEATURES)
  if (features !== undefined && features.length > 0) {
    platform['os.features'] = features.map((feature) => feature.string())
  }
  return platform
}
