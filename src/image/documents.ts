import { KeelsonError, keelsonError, type ErrorCode } from '../errors.ts'
import { chainIds } from '../oci/chain-id.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { decodeImageConfig, MAX_CONFIG_BYTES, type ImageConfig } from '../oci/image-config.ts'
import {
  decodeManifest,
  imageLayers,
  MAX_MANIFEST_BYTES,
  type Index,
  type Layer,
  type Manifest,
} from '../oci/manifest.ts'
import { hostPlatform, type Platform } from '../oci/platform.ts'
import { resolveManifest } from '../oci/resolve.ts'
import type { ContentStore } from '../store/content.ts'

/** All that the documents of one image say. */
export interface ImageDocuments {
  /** Of the manifest for one platform. */
  readonly descriptor: Descriptor
  readonly manifest: Manifest
  readonly config: ImageConfig
  /** Lowest first. */
  readonly layers: readonly Layer[]
  /** Names of the snapshots, one a layer, lowest first. */
  readonly chain: readonly Digest[]
}

/** An index in an index is legal; deeper than this nobody means it. */
const MAX_NESTING = 4
/** A few kilobytes each. */
const KEPT = 512

/** Images' documents out of the store, decoded once: content by digest never changes. Everything it returns is frozen. */
export class Documents {
  readonly #store: ContentStore
  readonly #kept = new Map<Digest, ImageDocuments>()

  constructor(store: ContentStore) {
    this.#store = store
  }

  /**
   * @param descriptor of a manifest, or of an index that another tool put into the layout
   * @throws `KEELSON_BLOB_NOT_FOUND`, `KEELSON_DIGEST_MISMATCH`, `KEELSON_MANIFEST_INVALID`, `KEELSON_MANIFEST_UNSUPPORTED`,
   * `KEELSON_PLATFORM_NOT_FOUND`
   */
  async image(descriptor: Descriptor, platform: Platform): Promise<ImageDocuments> {
    const known = this.#kept.get(descriptor.digest)
    if (known !== undefined) return known
    const resolved = await resolveManifest(descriptor, (each) => this.manifest(each), platform)
    const { manifest } = resolved
    // Before the configuration is read: an artifact's can be anything.
    const layers = imageLayers(manifest)
    const config = decodeImageConfig(await this.#read(manifest.config, MAX_CONFIG_BYTES))
    const chain = checkedChain(layers, config)
    const image = freeze({ descriptor: resolved.descriptor, manifest, config, layers, chain })
    this.#keep(image)
    return image
  }

  async manifest(descriptor: Descriptor): Promise<Manifest | Index> {
    return decodeManifest(await this.#read(descriptor, MAX_MANIFEST_BYTES), descriptor.mediaType)
  }

  /** All that a manifest or index of the store leads to, as far as it can be read: what must not be swept. */
  async reach(descriptor: Descriptor, depth = 0): Promise<{ blobs: Digest[]; chain: Digest[] }> {
    const reached = { blobs: [descriptor.digest], chain: [] as Digest[] }
    // Only a platform or two of an index are here.
    if (depth > MAX_NESTING || !(await this.#store.has(descriptor.digest))) return reached
    const document = await this.#readable(() => this.manifest(descriptor))
    if (document?.kind === 'manifest') {
      const image = await this.#readable(() => this.image(descriptor, hostPlatform()))
      reached.chain.push(...(image?.chain ?? []))
      reached.blobs.push(...[document.config, ...document.layers].map((each) => each.digest))
    }
    for (const each of document?.kind === 'index' ? document.manifests : []) {
      const below = await this.reach(each, depth + 1)
      reached.blobs.push(...below.blobs)
      reached.chain.push(...below.chain)
    }
    return reached
  }

  async #readable<T>(read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read()
    } catch (error) {
      // A disk that fails must not look like an image without layers.
      if (isContentError(error)) return undefined
      throw error
    }
  }

  async #read(descriptor: Descriptor, limit: number): Promise<Buffer> {
    checkDocumentSize(descriptor, limit)
    return await this.#store.read(descriptor)
  }

  #keep(image: ImageDocuments): void {
    const { digest } = image.descriptor
    this.#kept.delete(digest)
    this.#kept.set(digest, image)
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > KEPT && oldest !== undefined) this.#kept.delete(oldest)
  }
}

/** Whether an image cannot be read for what it is, rather than for what the disk or the caller did. */
export function isContentError(error: unknown): boolean {
  return KeelsonError.is(error) && CONTENT_ERRORS.has(error.code)
}

const CONTENT_ERRORS = new Set<ErrorCode>([
  'KEELSON_BLOB_NOT_FOUND',
  'KEELSON_PLATFORM_NOT_FOUND',
  'KEELSON_SIZE_MISMATCH',
  'KEELSON_DIGEST_MISMATCH',
  'KEELSON_MANIFEST_INVALID',
  'KEELSON_MANIFEST_UNSUPPORTED',
])

/** Before a document is fetched: its size is what a stranger says. */
export function checkDocumentSize(descriptor: Descriptor, limit: number): void {
  if (descriptor.size <= limit) return
  throw keelsonError(
    'KEELSON_MANIFEST_INVALID',
    `A document of the image is said to have ${descriptor.size} bytes, more than the limit of ${limit}.`,
    {
      digest: descriptor.digest,
      hint: 'No real image has such a document; ask who pushed it.',
    },
  )
}

function checkedChain(layers: readonly Layer[], config: ImageConfig): Digest[] {
  const diffIds = config.rootfs.diff_ids
  if (diffIds.length !== layers.length) {
    throw keelsonError(
      'KEELSON_MANIFEST_INVALID',
      `The image has ${layers.length} layers, but its configuration tells of ${diffIds.length}.`,
      { hint: 'The image was pushed broken; ask who pushed it.' },
    )
  }
  if (diffIds.some((diffId) => !diffId.startsWith('sha256:'))) {
    throw keelsonError(
      'KEELSON_MANIFEST_UNSUPPORTED',
      'The image names the contents of its layers by another hash than sha256.',
      { hint: 'Build it with a tool that writes sha256 diff ids, as all common ones do.' },
    )
  }
  return chainIds(diffIds)
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const each of Object.values(value)) freeze(each)
  }
  return value
}
