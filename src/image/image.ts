import type { Readable } from 'node:stream'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { ExecutionParameters, ImageConfig } from '../oci/image-config.ts'
import type { Platform } from '../oci/platform.ts'
import type { Files } from '../snapshot/files/files.ts'
import type { ImageDocuments } from './documents.ts'
import type { PushedImage, PushOptions } from './push.ts'

/** What an {@link Image} asks of the collection that it belongs to. @internal */
export interface ImageOwner {
  tag(image: Image, reference: string): Promise<Image>
  untag(image: Image, reference: string): Promise<Image>
  remove(image: Image, options: RemoveImageOptions): Promise<RemovedImage>
  files(image: Image): Files
  save(image: Image, references: readonly string[] | undefined, signal?: AbortSignal): Readable
  push(image: Image, reference: string | undefined, options: PushOptions): Promise<PushedImage>
}

export interface RemoveImageOptions {
  /** Remove it although containers were made from it. Running ones keep the layers they use until they end. Default false. */
  force?: boolean
  signal?: AbortSignal
}

/** What removing an image did. */
export interface RemovedImage {
  /** The names that it had. */
  untagged: string[]
  /** Blobs that nothing else needed. Empty while a pull is running: the next removal or prune takes them. */
  deleted: Digest[]
  /** Bytes that these had. */
  bytes: number
}

/** One step of how an image was made, oldest first. */
export interface ImageHistory {
  created?: Date
  /** The command, as the build tool tells it. */
  createdBy?: string
  author?: string
  comment?: string
  /** The layer that it made; none for a step that only changed the configuration. */
  layer?: Digest
  /** Bytes of that layer's blob, 0 without one. */
  size: number
}

/** All about an image, as plain data. */
export interface ImageInspect {
  id: Digest
  digest: Digest
  mediaType: string
  references: string[]
  platform: Platform
  created?: Date
  author?: string
  /** Bytes of all blobs: as it travels, not as it is unpacked. */
  size: number
  config: ExecutionParameters
  layers: { digest: Digest; diffId: Digest; chainId: Digest; mediaType: string; size: number }[]
  annotations: Record<string, string>
}

/**
 * An image in the store: for one platform, whole and verified, ready to run. Its fields are frozen as they were when it was asked for;
 * what changes an image's names returns a new one.
 *
 * @example
 * ```ts
 * import { Engine } from 'keelson'
 *
 * await using engine = await Engine.open()
 * const image = await engine.images.pull('docker.io/library/alpine:3.22')
 * console.log(image.id, image.size, image.config.config.Cmd)
 * await image.tag('alpine:mine')
 * ```
 */
export class Image {
  /** Digest of its configuration: names what runs, wherever it came from. Docker's image id. */
  readonly id: Digest
  /** Digest of its manifest: names what a registry holds, for this platform. */
  readonly digest: Digest
  /** Its names in full (`docker.io/library/alpine:3.22`), sorted; none when its tag moved to another image. */
  readonly references: readonly string[]
  /** What it runs on. */
  readonly platform: Platform
  /** The OCI image configuration. */
  readonly config: ImageConfig
  /** Bytes of all its blobs: as it travels, not as it is unpacked. */
  readonly size: number
  /** When it was built, if it says so. */
  readonly created?: Date
  /** Chain ids of its layers, lowest first. */
  readonly chain: readonly Digest[]
  /** Its manifest. @internal */
  readonly descriptor: Descriptor
  readonly #documents: ImageDocuments
  readonly #owner: ImageOwner

  /** @internal use `engine.images` */
  constructor(documents: ImageDocuments, references: readonly string[], owner: ImageOwner) {
    const { descriptor, manifest, config, layers, chain } = documents
    this.id = manifest.config.digest
    this.digest = descriptor.digest
    this.descriptor = descriptor
    this.references = Object.freeze([...references].sort())
    this.platform = Object.freeze(platformOf(config))
    this.config = config
    this.size = layers.reduce(
      (sum, layer) => sum + layer.descriptor.size,
      descriptor.size + manifest.config.size,
    )
    const created = dateOf(config.created)
    if (created !== undefined) this.created = created
    this.chain = chain
    this.#documents = documents
    this.#owner = owner
    Object.freeze(this)
  }

  /**
   * Gives the image another name, taking it from whatever image had it.
   *
   * @throws `KEELSON_INVALID_REFERENCE`, also for a reference with a digest; `KEELSON_IMAGE_NOT_FOUND` when it was removed meanwhile
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const image = await engine.images.get('app:1')
   * await image.tag('registry.example.com/app:1')
   * ```
   */
  async tag(reference: string): Promise<Image> {
    return await this.#owner.tag(this, reference)
  }

  /**
   * Takes a name away. The image stays, if need be without a name, until it is removed or pruned.
   *
   * @throws `KEELSON_IMAGE_NOT_FOUND` when the image does not have that name
   */
  async untag(reference: string): Promise<Image> {
    return await this.#owner.untag(this, reference)
  }

  /**
   * Removes the image with all its names, and what nothing else needs of its content.
   *
   * @throws `KEELSON_IMAGE_IN_USE` when a container was made from it, unless `force`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const image = await engine.images.get('app:1')
   * const { deleted, bytes } = await image.remove()
   * console.log(deleted, bytes)
   * ```
   */
  async remove(options: RemoveImageOptions = {}): Promise<RemovedImage> {
    return await this.#owner.remove(this, options)
  }

  /**
   * Its files, to be read without running anything: `readFile`, `readdir`, `stat`.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const image = await engine.images.get('alpine:3.22')
   * console.log(await image.files().readdir('/etc'))
   * ```
   */
  files(): Files {
    return this.#owner.files(this)
  }

  /**
   * Brings the image into a registry: what the repository lacks of its blobs, then its manifest. What the registry has in another
   * repository that this store knows of is mounted from there; nothing that is there is sent.
   *
   * @param reference where to, `registry.example.com/app:1`. Default: its only name
   * @throws `KEELSON_INVALID_REFERENCE`, `KEELSON_REGISTRY_*`, `KEELSON_CREDENTIALS`, `KEELSON_BLOB_NOT_FOUND`, `KEELSON_DIGEST_MISMATCH`,
   * `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const image = await engine.images.get('app:1')
   * await image.push('registry.example.com/app:1', {
   *   onProgress: ({ blob, status, current, total }) => console.log(blob, status, current, total),
   * })
   * ```
   */
  async push(reference?: string, options: PushOptions = {}): Promise<PushedImage> {
    return await this.#owner.push(this, reference, options)
  }

  /**
   * The image as one tar archive: an OCI image layout that `docker load`, `podman load`, `skopeo` and `engine.images.load` read.
   *
   * @param references the names it is to have in there. Default: all of its own
   *
   * @example
   * ```ts
   * import { createWriteStream } from 'node:fs'
   * import { pipeline } from 'node:stream/promises'
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const image = await engine.images.get('app:1')
   * await pipeline(image.save(), createWriteStream('app.tar'))
   * ```
   */
  save(references?: readonly string[], options: { signal?: AbortSignal } = {}): Readable {
    return this.#owner.save(this, references, options.signal)
  }

  /**
   * How it was made, oldest step first, as far as the build tool told.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const image = await engine.images.get('app:1')
   * for (const { createdBy, size } of await image.history()) console.log(size, createdBy)
   * ```
   */
  async history(): Promise<ImageHistory[]> {
    const layers = this.#documents.layers.values()
    return this.config.history.map((entry) => {
      const layer = entry.empty_layer === true ? undefined : layers.next().value?.descriptor
      const created = dateOf(entry.created)
      return {
        ...(created === undefined ? {} : { created }),
        ...(entry.created_by === undefined ? {} : { createdBy: entry.created_by }),
        ...(entry.author === undefined ? {} : { author: entry.author }),
        ...(entry.comment === undefined ? {} : { comment: entry.comment }),
        ...(layer === undefined ? {} : { layer: layer.digest }),
        size: layer?.size ?? 0,
      }
    })
  }

  /** All about it as plain data, which is the caller's to change. */
  async inspect(): Promise<ImageInspect> {
    const { manifest, layers, chain, config } = this.#documents
    return structuredClone({
      id: this.id,
      digest: this.digest,
      mediaType: manifest.mediaType,
      references: [...this.references],
      platform: this.platform,
      ...(this.created === undefined ? {} : { created: this.created }),
      ...(config.author === undefined ? {} : { author: config.author }),
      size: this.size,
      config: config.config,
      layers: layers.flatMap(({ descriptor }, index) => {
        const diffId = config.rootfs.diff_ids[index]
        const chainId = chain[index]
        if (diffId === undefined || chainId === undefined) return []
        const { digest, mediaType, size } = descriptor
        return [{ digest, diffId, chainId, mediaType, size }]
      }),
      annotations: manifest.annotations ?? {},
    })
  }
}

function platformOf(config: ImageConfig): Platform {
  const { os, architecture, variant } = config
  return { os, architecture, ...(variant === undefined ? {} : { variant }) }
}

/** RFC 3339; what is no date is no date. */
function dateOf(text: string | undefined): Date | undefined {
  const date = text === undefined ? undefined : new Date(text)
  return date === undefined || Number.isNaN(date.getTime()) ? undefined : date
}
