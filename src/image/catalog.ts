import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { isIndexMediaType } from '../oci/media-types.ts'
import { platformRuns, type Platform } from '../oci/platform.ts'
import type { Reference } from '../oci/reference.ts'
import type { ContentStore } from '../store/content.ts'
import { SOURCE_DIGEST, type IndexEntry } from '../store/names.ts'
import { isContentError, type Documents, type ImageDocuments } from './documents.ts'

/** An image of the store and its names in full. */
export interface CatalogEntry {
  documents: ImageDocuments
  names: string[]
}

/**
 * What images the layout holds, as its index and its documents say. Other tools write there too, so not everything in it is an
 * image, or whole: such things are passed over.
 */
export class Catalog {
  readonly #store: ContentStore
  readonly #documents: Documents
  /** What to choose from the indexes that other tools put there. */
  readonly #platform: Platform

  constructor(store: ContentStore, documents: Documents, platform: Platform) {
    this.#store = store
    this.#documents = documents
    this.#platform = platform
  }

  /** The image of this name, if it is whole and runs on that platform. */
  async find(reference: Reference, platform: Platform): Promise<ImageDocuments | undefined> {
    const descriptor = await this.named(reference)
    if (descriptor === undefined) return undefined
    const image = await this.#read(descriptor, platform)
    return image !== undefined && platformRuns(image.config, platform) ? image : undefined
  }

  /** What the name stands for; by digest also an image that was pulled by tag and had that digest then. */
  async named(reference: Reference): Promise<Descriptor | undefined> {
    const { names } = this.#store
    const descriptor = await names.get(nameOf(reference))
    const { digest } = reference
    if (descriptor !== undefined || digest === undefined) return descriptor
    const tagged = `${reference.name}:`
    const entry = (await names.entries()).find(
      (each) =>
        each.name?.startsWith(tagged) === true &&
        (each.descriptor.digest === digest ||
          each.descriptor.annotations?.[SOURCE_DIGEST] === digest),
    )
    return entry?.descriptor
  }

  /** Every whole image, once. */
  async all(): Promise<CatalogEntry[]> {
    const images = new Map<Digest, CatalogEntry>()
    for (const { descriptor, name } of await this.#store.names.entries()) {
      const documents = await this.#read(descriptor, this.#platform)
      if (documents === undefined) continue
      const { digest } = documents.descriptor
      const image = images.get(digest) ?? { documents, names: [] }
      if (name !== undefined) image.names.push(name)
      images.set(digest, image)
    }
    return [...images.values()]
  }

  /** The entries of the index that lead to a manifest: its own, and indexes that another tool listed. */
  async entriesOf(manifest: Digest): Promise<IndexEntry[]> {
    const found: IndexEntry[] = []
    for (const entry of await this.#store.names.entries()) {
      const { digest, mediaType } = entry.descriptor
      const leads = isIndexMediaType(mediaType)
        ? (await this.#read(entry.descriptor, this.#platform))?.descriptor.digest
        : digest
      if (leads === manifest) found.push(entry)
    }
    return found
  }

  async #read(descriptor: Descriptor, platform: Platform): Promise<ImageDocuments | undefined> {
    try {
      return await this.#documents.image(descriptor, platform)
    } catch (error) {
      if (isContentError(error)) return undefined
      throw error
    }
  }
}

/** The name an image is kept under: by digest when one was given, since the digest decides and a tag beside it says nothing. */
export function nameOf(reference: Reference): string {
  const { name, tag, digest } = reference
  return digest === undefined ? `${name}:${tag ?? 'latest'}` : `${name}@${digest}`
}
