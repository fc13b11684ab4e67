import type { Readable } from 'node:stream'
import { keelsonError, type KeelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { Platform } from '../oci/platform.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import type { Helper } from '../runtime/protocol.ts'
import { Files } from '../snapshot/files/files.ts'
import type { Snapshotter } from '../snapshot/snapshotter.ts'
import type { ContentStore } from '../store/content.ts'
import { sweep, type Swept, type SweptSnapshots } from '../store/gc.ts'
import { SOURCE_DIGEST } from '../store/names.ts'
import type { Emit } from '../util/emit.ts'
import { printable } from '../util/printable.ts'
import { saveImage } from './archive/save.ts'
import { Catalog, nameOf } from './catalog.ts'
import { Documents, type ImageDocuments } from './documents.ts'
import type { AboutImage, ImageEvents } from './events.ts'
import { findById, matches, type ImageFilter } from './find.ts'
import { Image, type ImageOwner, type RemovedImage, type RemoveImageOptions } from './image.ts'
import { describe } from './pull.ts'
import { pushImage, type PushedImage, type PushOptions, type PushRegistry } from './push.ts'

export interface PruneOptions {
  /** Also images that have a name, when no container was made from them. Default false: only those without. */
  all?: boolean
  signal?: AbortSignal
}

/** What a prune removed. */
export interface PrunedImages {
  images: { id: Digest; digest: Digest; references: string[] }[]
  /** Content that nothing needed any more. */
  blobs: Digest[]
  snapshots: Digest[]
  /** Bytes of blobs and half blobs. */
  bytes: number
}

export interface StoredImagesOptions {
  store: ContentStore
  snapshotter: Snapshotter
  /** Of every driver on this root, whichever this engine uses: asked when something is to be removed. */
  snapshots: () => Promise<readonly SweptSnapshots[]>
  documents: Documents
  registry: PushRegistry
  helper: Helper
  platform: Platform
  /** Manifests that containers were made from, by any process: asked when something is to be removed. */
  containers: () => Promise<readonly { container: string; image: Descriptor }[]>
  emit: Emit<ImageEvents>
}

/** The images that are in the store: found, named, read, sent away, removed. What brings new ones there is {@link Images}. */
export class StoredImages implements ImageOwner {
  readonly #options: StoredImagesOptions
  readonly #catalog: Catalog

  constructor(options: StoredImagesOptions) {
    this.#options = options
    this.#catalog = new Catalog(options.store, options.documents, options.platform)
  }

  /** The image of this name, if it is whole and runs on that platform. */
  async find(reference: Reference, platform: Platform): Promise<ImageDocuments | undefined> {
    return await this.#catalog.find(reference, platform)
  }

  /** By name, by id or digest, or by the first digits of its id. */
  async get(refOrId: string): Promise<Image> {
    let unnamed: unknown
    try {
      const named = await this.#catalog.named(parseReference(refOrId))
      if (named !== undefined) {
        return await this.wrap(await this.#options.documents.image(named, this.#options.platform))
      }
    } catch (error) {
      // An id's first digits may be no possible name (64 of them are not): that matters only if no id begins so.
      if (!ID_PREFIX.test(refOrId)) throw error
      unnamed = error
    }
    const image = ID_PREFIX.test(refOrId) ? findById(await this.#all(), refOrId) : undefined
    if (image !== undefined) return image
    throw imageNotFound(refOrId, 'engine.images.list() shows what is there.', unnamed)
  }

  /** Which one an id names, where it is one and not the name of an image that is here. */
  async byId(text: string | Reference): Promise<Image | undefined> {
    if (typeof text !== 'string' || !IMAGE_ID.test(text)) return undefined
    const certain = CERTAIN_ID.test(text)
    if (!certain && (await this.#catalog.named(parseReference(text))) !== undefined)
      return undefined
    const found = findById(await this.#all(), text)
    if (found !== undefined || !certain) return found
    throw imageNotFound(text, 'An id names only what is here: pull the image by its name.')
  }

  /** Newest first. */
  async list(filter: ImageFilter = {}): Promise<Image[]> {
    const images = await this.#all()
    return images
      .filter((image) => matches(image, filter))
      .sort((a, b) => (b.created?.getTime() ?? 0) - (a.created?.getTime() ?? 0))
  }

  async prune(options: PruneOptions = {}): Promise<PrunedImages> {
    const { all = false, signal } = options
    const used = new Set((await this.#options.containers()).map(({ image }) => image.digest))
    const images = (await this.#all()).filter(
      (image) => !used.has(image.digest) && (all || image.references.length === 0),
    )
    await this.#options.store.names.forget(
      images.map((image) => image.digest),
      { signal },
    )
    for (const image of images) {
      this.tell('image.remove', image, { references: [...image.references] })
    }
    const swept = await this.#sweep({ partials: 'all', wait: true, signal })
    const bytes = swept?.bytes ?? 0
    this.#options.emit('image.prune', { images: images.map(({ id }) => id), bytes })
    return {
      images: images.map(({ id, digest, references }) => ({
        id,
        digest,
        references: [...references],
      })),
      blobs: swept?.blobs ?? [],
      snapshots: swept?.snapshots ?? [],
      bytes,
    }
  }

  /** Says what has happened to an image. */
  tell<Type extends Exclude<keyof ImageEvents, 'image.prune'>>(
    type: Type,
    image: Image,
    facts: Omit<ImageEvents[Type][0], keyof AboutImage>,
  ): void {
    const { id, digest, config } = image
    const about: AboutImage = { image: id, digest, labels: config.config.Labels ?? {} }
    this.#options.emit(type, { ...about, ...facts } as ImageEvents[Type][0])
  }

  async wrap(documents: ImageDocuments): Promise<Image> {
    const { store } = this.#options
    return new Image(documents, await store.names.namesOf(documents.descriptor.digest), this)
  }

  /** @internal use {@link Image.save} */
  save(
    image: Image,
    references: readonly string[] | undefined,
    signal: AbortSignal | undefined,
  ): Readable {
    const names = (references ?? image.references).map((each) => nameOf(parseReference(each)))
    const documents = this.#options.documents.image(image.descriptor, image.platform)
    documents.catch(() => undefined)
    return saveImage(this.#options.store, documents, names, {
      lease: () => this.#options.store.lease({ signal }),
      signal,
    })
  }

  /** @internal use {@link Image.push} */
  async push(image: Image, to: string | undefined, options: PushOptions): Promise<PushedImage> {
    const reference = parseReference(to ?? onlyName(image))
    if (reference.digest !== undefined && reference.digest !== image.digest) {
      throw keelsonError(
        'KEELSON_INVALID_REFERENCE',
        `The image has another digest than ${reference.digest}.`,
        {
          hint: 'Push it by a tag.',
        },
      )
    }
    await using _ = await this.#options.store.lease({ signal: options.signal })
    const documents = await this.#options.documents.image(image.descriptor, image.platform)
    const repositories = await this.#repositoriesWith(documents, reference)
    const { store, registry } = this.#options
    const pushed = await pushImage(store, registry, documents, reference, repositories, options)
    this.tell('image.push', image, { reference: reference.toString() })
    return pushed
  }

  /** @internal use {@link Image.tag} */
  async tag(image: Image, reference: string): Promise<Image> {
    const wanted = taggable(reference)
    await using _ = await this.#options.store.lease()
    const [entry] = await this.#catalog.entriesOf(image.digest)
    if (entry === undefined)
      throw imageNotFound(image.id, 'It was removed meanwhile: pull it again.')
    const documents = await this.#options.documents.image(image.descriptor, image.platform)
    const source = entry.descriptor.annotations?.[SOURCE_DIGEST]
    await this.#options.store.names.set([nameOf(wanted)], describe(documents, source))
    this.tell('image.tag', image, { reference: nameOf(wanted) })
    return await this.#again(image)
  }

  /** @internal use {@link Image.untag} */
  async untag(image: Image, reference: string): Promise<Image> {
    const name = nameOf(parseReference(reference))
    const entries = await this.#catalog.entriesOf(image.digest)
    if (!entries.some((entry) => entry.name === name)) {
      throw imageNotFound(
        reference,
        'The image does not have that name; image.references lists them.',
      )
    }
    await this.#options.store.names.unset([name])
    this.tell('image.untag', image, { reference: name })
    return await this.#again(image)
  }

  /** @internal use {@link Image.remove} */
  async remove(image: Image, options: RemoveImageOptions): Promise<RemovedImage> {
    const { force = false, signal } = options
    if (!force) await this.#refuseUsed(image)
    const entries = await this.#catalog.entriesOf(image.digest)
    await this.#options.store.names.forget(
      entries.map(({ descriptor }) => descriptor.digest),
      { signal },
    )
    const untagged = entries.flatMap(({ name }) => name ?? [])
    // Another one may have been quicker.
    if (entries.length > 0) this.tell('image.remove', image, { references: untagged })
    const swept = await this.#sweep({ partials: 'old', wait: false, signal })
    return {
      untagged,
      deleted: swept?.blobs ?? [],
      bytes: swept?.bytes ?? 0,
    }
  }

  /** @internal use {@link Image.files} */
  files(image: Image): Files {
    return new Files({
      helper: this.#options.helper,
      open: async ({ signal }) => {
        const [top] = image.chain.slice(-1)
        // Kept until it is done: a removal meanwhile waits.
        const lease = await this.#options.store.lease({ signal })
        if (top !== undefined && !(await this.#options.snapshotter.has(top))) {
          await lease.release()
          throw imageNotFound(image.id, 'It was removed meanwhile: pull it again.')
        }
        const place = { rootfs: this.#options.snapshotter.view(image.chain) }
        return { place, [Symbol.asyncDispose]: () => lease.release() }
      },
    })
  }

  /** Repositories of the same registry that should have some of an image's blobs: those that others here were pulled from. */
  async #repositoriesWith(image: ImageDocuments, { registry, repository }: Reference) {
    const wanted = new Set([
      image.manifest.config.digest,
      ...image.layers.map((l) => l.descriptor.digest),
    ])
    const found = new Map<Digest, string>()
    for (const { documents, names } of await this.#catalog.all()) {
      const there = names
        .map((name) => parseReference(name))
        .find((name) => name.registry === registry && name.repository !== repository)
      if (there === undefined) continue
      for (const { digest } of [documents.manifest.config, ...documents.manifest.layers]) {
        if (wanted.has(digest)) found.set(digest, there.repository)
      }
    }
    return found
  }

  async #all(): Promise<Image[]> {
    const all = await this.#catalog.all()
    return all.map(({ documents, names }) => new Image(documents, names, this))
  }

  async #again(image: Image): Promise<Image> {
    return await this.wrap(await this.#options.documents.image(image.descriptor, image.platform))
  }

  async #refuseUsed(image: Image): Promise<void> {
    const users = (await this.#options.containers()).filter(
      (each) => each.image.digest === image.digest,
    )
    if (users.length === 0) return
    const containers = users.map((each) => each.container)
    throw keelsonError(
      'KEELSON_IMAGE_IN_USE',
      `The image ${image.references[0] ?? image.id} is used by ${containers.length} containers.`,
      { containers, hint: 'Remove them first, or remove the image with { force: true }.' },
    )
  }

  async #sweep(options: {
    partials: 'old' | 'all'
    wait: boolean
    signal: AbortSignal | undefined
  }): Promise<Swept | undefined> {
    return await sweep(this.#options.store, this.#options.helper, {
      ...options,
      expand: (descriptor) => this.#options.documents.reach(descriptor),
      snapshots: await this.#options.snapshots(),
      held: async () => (await this.#options.containers()).map(({ image }) => image),
    })
  }
}

/** @throws `KEELSON_INVALID_REFERENCE` for a name that cannot be given */
export function taggable(text: string): Reference {
  const reference = parseReference(text)
  if (reference.digest === undefined) return reference
  throw keelsonError(
    'KEELSON_INVALID_REFERENCE',
    `"${printable(text)}" names an image by digest, which cannot be given to another.`,
    { hint: 'Use a name with a tag.' },
  )
}

const ID_PREFIX = /^(?:sha256:|sha512:)?[0-9a-f]+$/
/** What may be an id where a name is expected; so many digits as Docker shows. */
const IMAGE_ID = /^(?:sha256:[0-9a-f]{1,64}|[0-9a-f]{12,64})$/
/** What can be nothing else: names have neither 64 digits, nor an algorithm for theirs. */
const CERTAIN_ID = /^(?:sha256:[0-9a-f]+|[0-9a-f]{64})$/

/** What is looked for is not in the store. */
export function imageNotFound(name: string, hint: string, cause?: unknown): KeelsonError {
  return keelsonError('KEELSON_IMAGE_NOT_FOUND', `There is no image "${printable(name)}" here.`, {
    hint,
    reference: name,
    cause,
  })
}

function onlyName(image: Image): string {
  const [name] = image.references
  if (name !== undefined && image.references.length === 1) return name
  throw keelsonError(
    'KEELSON_INVALID_REFERENCE',
    `The image has ${image.references.length} names: say where to push it to.`,
    {
      hint: 'Pass the reference: image.push("registry.example.com/app:1").',
      references: image.references,
    },
  )
}
