import type { Readable } from 'node:stream'
import { keelsonError, type KeelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { ExecutionParameters } from '../oci/image-config.ts'
import { hostPlatform, normalizePlatform, parsePlatform, type Platform } from '../oci/platform.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import type { RegistryAuth } from '../registry/options.ts'
import type { Helper } from '../runtime/protocol.ts'
import type { Snapshotter } from '../snapshot/snapshotter.ts'
import type { ContentStore } from '../store/content.ts'
import { sweep, type Swept, type SweptSnapshots } from '../store/gc.ts'
import { SOURCE_DIGEST } from '../store/names.ts'
import { Files } from '../snapshot/files/files.ts'
import { throwIfAborted } from '../util/abort.ts'
import { printable } from '../util/printable.ts'
import type { ImportOptions } from './archive/import.ts'
import { saveImage } from './archive/save.ts'
import type { ArchiveSource } from './archive/unpacked.ts'
import { Catalog, nameOf } from './catalog.ts'
import { changedConfig, imageFromLayer, type LayeredOptions, type WrittenLayer } from './commit.ts'
import { Documents, type ImageDocuments } from './documents.ts'
import { imageFromFiles, type ImageFromOptions } from './from.ts'
import { imageFromHost, type ImageFromHostOptions } from './from-host.ts'
import type { ImageFiles } from './files.ts'
import { Image, type ImageOwner, type RemovedImage, type RemoveImageOptions } from './image.ts'
import { findById, matches, type ImageFilter } from './find.ts'
import { LayerFetcher, type BlobOrigin, type Registry } from './layers.ts'
import type { PullProgress } from './progress.ts'
import {
  checkPlatform,
  describe,
  makeImage,
  pullImage,
  unpackImage,
  type PullContext,
} from './pull.ts'
import { pushImage, type PushedImage, type PushOptions, type PushRegistry } from './push.ts'
import { Settler } from './settle.ts'

/** When to ask the registry. */
export type PullPolicy = 'missing' | 'always' | 'never'

export interface PullOptions {
  /** Default: this host's. `linux/arm64/v8` or its parts. */
  platform?: string | Platform
  /** `missing` (default): only when the store does not have it. `always`: see whether the name moved. `never`: not at all. */
  policy?: PullPolicy
  /** Default: what the engine's `registries` and Docker's and Podman's files know for the host. */
  auth?: RegistryAuth
  /** Hears each step of each layer. If it throws, the pull ends with `KEELSON_ABORTED` and that error as its cause. */
  onProgress?: (progress: PullProgress) => void
  signal?: AbortSignal
}

/** For images that are made here. */
export interface MadeImageOptions {
  /** Its name, `app:1`. Default: none; it can be given one by `tag`. */
  reference?: string
}

/** As much of an image as putting a layer on it takes. */
export interface BaseImage {
  descriptor: Descriptor
  platform: Platform
  parameters: ExecutionParameters
}

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

export interface ImagesOptions {
  store: ContentStore
  snapshotter: Snapshotter
  /** Of every driver on this root, whichever this engine uses: asked when something is to be removed. */
  snapshots: () => Promise<readonly SweptSnapshots[]>
  registry: Registry & PushRegistry
  helper: Helper
  /** Default: this host's. */
  platform?: Platform
  /** Manifests that containers were made from, by any process: asked when something is to be removed. */
  containers?: () => Promise<readonly { container: string; image: Descriptor }[]>
}

/**
 * The images of an engine: `engine.images`. They are files under the engine's root, shared by all engines on that root.
 */
export class Images implements ImageOwner {
  readonly #store: ContentStore
  readonly #snapshotter: Snapshotter
  readonly #helper: Helper
  readonly #push: PushRegistry
  readonly #documents: Documents
  readonly #context: PullContext
  readonly #platform: Platform
  readonly #snapshots: ImagesOptions['snapshots']
  readonly #containers: NonNullable<ImagesOptions['containers']>
  readonly #catalog: Catalog
  readonly #settler: Settler

  /** @internal */
  constructor(options: ImagesOptions) {
    const { store, snapshotter, registry, helper } = options
    this.#store = store
    this.#snapshotter = snapshotter
    this.#helper = helper
    this.#push = registry
    this.#documents = new Documents(store)
    this.#platform = options.platform ?? hostPlatform()
    this.#catalog = new Catalog(store, this.#documents, this.#platform)
    this.#snapshots = options.snapshots
    this.#settler = new Settler(snapshotter)
    this.#containers = options.containers ?? (async () => [])
    this.#context = {
      store,
      snapshotter,
      registry,
      documents: this.#documents,
      layers: new LayerFetcher(store, snapshotter, registry),
    }
  }

  /**
   * Makes an image ready to run: fetched if need be, verified, unpacked. Layers download and unpack at once; pulls that want the same
   * layer, in this process or another, share the work.
   *
   * An abort leaves nothing but half blobs that the next pull resumes. The name is given only when everything stands.
   *
   * An id of an image of the store (whole, or its first 12 digits or more) stands for that image: no registry is asked.
   *
   * @param reference `alpine`, `docker.io/library/alpine:3.22`, `host:5000/app@sha256:...`, an {@link Image.id}
   * @throws `KEELSON_INVALID_REFERENCE`, `KEELSON_INVALID_PLATFORM`, `KEELSON_IMAGE_NOT_FOUND`, `KEELSON_IMAGE_AMBIGUOUS`,
   * `KEELSON_PLATFORM_NOT_FOUND`, `KEELSON_REGISTRY_*`, `KEELSON_DIGEST_MISMATCH`, `KEELSON_SIZE_MISMATCH`, `KEELSON_MANIFEST_*`, `KEELSON_LAYER_*`,
   * `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const image = await engine.images.pull('docker.io/library/alpine:3.22', {
   *   onProgress: ({ layer, status, current, total }) => console.log(layer, status, current, total),
   *   signal: AbortSignal.timeout(60_000),
   * })
   * ```
   */
  async pull(reference: string | Reference, options: PullOptions = {}): Promise<Image> {
    const platform = this.#wantedPlatform(options.platform)
    const policy = checkPolicy(options.policy ?? 'missing')
    const own = await this.#byId(reference)
    if (own !== undefined) return await this.#identified(own, platform, options)
    const wanted = typeof reference === 'string' ? parseReference(reference) : reference
    const request = { ...options, reference: wanted, platform }
    const held = policy === 'always' ? undefined : await this.#catalog.find(wanted, platform)
    if (held === undefined && policy === 'never') {
      throw notFound(wanted.familiar(), 'Pull it first, or use policy "missing".')
    }
    const image = held ?? (await pullImage(this.#context, request))
    return await this.#ready(image, request, request)
  }

  /**
   * Makes an image of one layer out of JavaScript values: contents of files, or paths of files of this host. It is ready to run.
   *
   * @param files path in the image to content, a host path, or an `ImageFile`
   * @param config how it wants to be run: `Cmd`, `Env`, `User`, ...
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_INVALID_REFERENCE`, `KEELSON_INVALID_PLATFORM`, `KEELSON_PERMISSION`,
   * `KEELSON_NO_SPACE`, `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const image = await engine.images.from(
   *   { '/hello.txt': Buffer.from('hello') },
   *   { Cmd: ['/bin/app'] },
   *   { reference: 'app:1' },
   * )
   * ```
   */
  async from(
    files: ImageFiles,
    config?: ExecutionParameters,
    options: MadeImageOptions & ImageFromOptions = {},
  ): Promise<Image> {
    return await this.#make(options, (store) => imageFromFiles(store, files, config, options))
  }

  /**
   * Makes an image out of programs of this host and the libraries that they need. It is ready to run.
   *
   * @param programs names to look up on PATH, or paths; the first is the command
   * @throws `KEELSON_COMMAND_NOT_FOUND`, `KEELSON_COMMAND_NOT_EXECUTABLE`, `KEELSON_LIBRARY_NOT_FOUND`, and what {@link from} throws
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const image = await engine.images.fromHost(['node', 'sh'])
   * ```
   */
  async fromHost(
    programs: readonly string[],
    config?: ExecutionParameters,
    options: MadeImageOptions & ImageFromHostOptions = {},
  ): Promise<Image> {
    return await this.#make(options, (store) => imageFromHost(store, programs, config, options))
  }

  /**
   * Brings the images of an archive into the store, ready to run: what `docker save`, `podman save`, `skopeo copy ... oci-archive:` and
   * {@link Image.save} write, plain or gzip. Names that the archive has are given to them, taking them from whatever had them.
   *
   * @param source a path, bytes or a stream
   * @throws `KEELSON_ARCHIVE_INVALID`, `KEELSON_MANIFEST_*`, `KEELSON_LAYER_*`, `KEELSON_DIGEST_MISMATCH`, `KEELSON_PLATFORM_NOT_FOUND`,
   * `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`, `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const [image] = await engine.images.load('alpine.tar')
   * ```
   */
  async load(
    source: ArchiveSource,
    options: { platform?: string | Platform; signal?: AbortSignal } = {},
  ): Promise<Image[]> {
    const { signal } = options
    const platform = this.#wantedPlatform(options.platform)
    throwIfAborted(signal, 'Loading images')
    const [{ Unpacked }, { imagesIn }] = await Promise.all([
      import('./archive/unpacked.ts'),
      import('./archive/load.ts'),
    ])
    await using archive = await Unpacked.read(source, this.#store.layout.ingest, signal)
    const images: Image[] = []
    for (const each of await imagesIn(archive, this.#store, platform)) {
      const write = () => each.write(signal)
      const image = await makeImage(this.#context, platform, each.names, signal, write)
      this.#settler.later(image.chain)
      images.push(await this.#wrap(image))
    }
    return images
  }

  /**
   * Makes an image of a root file system in an archive, as {@link Container.export} and `docker export` write it: one layer, byte for byte.
   *
   * @param source a path, bytes or a stream of a tar archive, plain, gzip or (where Node has it) zstd
   * @throws `KEELSON_ARCHIVE_INVALID`, `KEELSON_LAYER_*`, `KEELSON_INVALID_REFERENCE`, `KEELSON_INVALID_PLATFORM`, `KEELSON_UNSUPPORTED`,
   * `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`, `KEELSON_IO`, `KEELSON_ABORTED`
   */
  async import(
    source: ArchiveSource,
    options: MadeImageOptions &
      ImportOptions & { platform?: string | Platform; signal?: AbortSignal } = {},
  ): Promise<Image> {
    const platform = this.#wantedPlatform(options.platform)
    const { imageFromArchive } = await import('./archive/import.ts')
    return await this.#make(options, (store) => imageFromArchive(store, source, platform, options))
  }

  /** @internal use {@link Image.save} */
  save(
    image: Image,
    references: readonly string[] | undefined,
    signal: AbortSignal | undefined,
  ): Readable {
    const names = (references ?? image.references).map((each) => nameOf(parseReference(each)))
    const documents = this.#documents.image(image.descriptor, image.platform)
    documents.catch(() => undefined)
    return saveImage(this.#store, documents, names, {
      lease: () => this.#store.lease({ signal }),
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
    await using _ = await this.#store.lease({ signal: options.signal })
    const documents = await this.#documents.image(image.descriptor, image.platform)
    const repositories = await this.#repositoriesWith(documents, reference)
    return await pushImage(this.#store, this.#push, documents, reference, repositories, options)
  }

  /**
   * An image of the store, by name, by id or digest, or by the first digits of its id.
   *
   * @throws `KEELSON_IMAGE_NOT_FOUND`; `KEELSON_IMAGE_AMBIGUOUS` when several ids begin so; `KEELSON_INVALID_REFERENCE`
   */
  async get(refOrId: string): Promise<Image> {
    let unnamed: unknown
    try {
      const named = await this.#catalog.named(parseReference(refOrId))
      if (named !== undefined) {
        return await this.#wrap(await this.#documents.image(named, this.#platform))
      }
    } catch (error) {
      // An id's first digits may be no possible name (64 of them are not): that matters only if no id begins so.
      if (!ID_PREFIX.test(refOrId)) throw error
      unnamed = error
    }
    const image = ID_PREFIX.test(refOrId) ? findById(await this.#all(), refOrId) : undefined
    if (image !== undefined) return image
    throw notFound(refOrId, 'engine.images.list() shows what is there.', unnamed)
  }

  /** The images of the store, newest first. What is in the layout but is no whole image is left out. */
  async list(filter: ImageFilter = {}): Promise<Image[]> {
    const images = await this.#all()
    return images
      .filter((image) => matches(image, filter))
      .sort((a, b) => (b.created?.getTime() ?? 0) - (a.created?.getTime() ?? 0))
  }

  /**
   * Removes images that nothing uses, and all content that no image and no container needs: what failed pulls left, too. Waits for pulls that
   * are running, in any process.
   */
  async prune(options: PruneOptions = {}): Promise<PrunedImages> {
    const { all = false, signal } = options
    const used = new Set((await this.#containers()).map(({ image }) => image.digest))
    const images = (await this.#all()).filter(
      (image) => !used.has(image.digest) && (all || image.references.length === 0),
    )
    await this.#store.names.forget(
      images.map((image) => image.digest),
      { signal },
    )
    const swept = await this.#sweep({ partials: 'all', wait: true, signal })
    return {
      images: images.map(({ id, digest, references }) => ({
        id,
        digest,
        references: [...references],
      })),
      blobs: swept?.blobs ?? [],
      snapshots: swept?.snapshots ?? [],
      bytes: swept?.bytes ?? 0,
    }
  }

  /** @internal use {@link Image.tag} */
  async tag(image: Image, reference: string): Promise<Image> {
    const wanted = this.#taggable(reference)
    await using _ = await this.#store.lease()
    const [entry] = await this.#catalog.entriesOf(image.digest)
    if (entry === undefined) throw notFound(image.id, 'It was removed meanwhile: pull it again.')
    const documents = await this.#documents.image(image.descriptor, image.platform)
    const source = entry.descriptor.annotations?.[SOURCE_DIGEST]
    await this.#store.names.set([nameOf(wanted)], describe(documents, source))
    return await this.#again(image)
  }

  /** @internal use {@link Image.untag} */
  async untag(image: Image, reference: string): Promise<Image> {
    const name = nameOf(parseReference(reference))
    const entries = await this.#catalog.entriesOf(image.digest)
    if (!entries.some((entry) => entry.name === name)) {
      throw notFound(reference, 'The image does not have that name; image.references lists them.')
    }
    await this.#store.names.unset([name])
    return await this.#again(image)
  }

  /** @internal use {@link Image.remove} */
  async remove(image: Image, options: RemoveImageOptions): Promise<RemovedImage> {
    const { force = false, signal } = options
    if (!force) await this.#refuseUsed(image)
    const entries = await this.#catalog.entriesOf(image.digest)
    await this.#store.names.forget(
      entries.map(({ descriptor }) => descriptor.digest),
      { signal },
    )
    const swept = await this.#sweep({ partials: 'old', wait: false, signal })
    return {
      untagged: entries.flatMap(({ name }) => name ?? []),
      deleted: swept?.blobs ?? [],
      bytes: swept?.bytes ?? 0,
    }
  }

  /**
   * An image that is another one and a layer more, ready to run.
   * @internal use `container.commit`
   */
  async layered(
    base: BaseImage,
    write: (file: string) => Promise<WrittenLayer>,
    options: MadeImageOptions & LayeredOptions,
  ): Promise<Image> {
    // What is wrong with it shows before the work.
    changedConfig(base.parameters, options.changes ?? {})
    const { reference, signal } = options
    const made = { platform: base.platform, ...(reference === undefined ? {} : { reference }) }
    return await this.#make(signal === undefined ? made : { ...made, signal }, async (store) =>
      imageFromLayer(
        store,
        await this.#documents.image(base.descriptor, base.platform),
        write,
        options,
      ),
    )
  }

  /** @internal use {@link Image.files} */
  files(image: Image): Files {
    return new Files({
      helper: this.#helper,
      open: async ({ signal }) => {
        const [top] = image.chain.slice(-1)
        // Kept until it is done: a removal meanwhile waits.
        const lease = await this.#store.lease({ signal })
        if (top !== undefined && !(await this.#snapshotter.has(top))) {
          await lease.release()
          throw notFound(image.id, 'It was removed meanwhile: pull it again.')
        }
        const place = { rootfs: this.#snapshotter.view(image.chain) }
        return { place, [Symbol.asyncDispose]: () => lease.release() }
      },
    })
  }

  /** Whom an id names, where it is one and not the name of an image that is here. */
  async #byId(text: string | Reference): Promise<Image | undefined> {
    if (typeof text !== 'string' || !IMAGE_ID.test(text)) return undefined
    const certain = CERTAIN_ID.test(text)
    if (!certain && (await this.#catalog.named(parseReference(text))) !== undefined)
      return undefined
    const found = findById(await this.#all(), text)
    if (found !== undefined || !certain) return found
    throw notFound(text, 'An id names only what is here: pull the image by its name.')
  }

  async #identified(
    { descriptor, platform, references, id }: Image,
    wanted: Platform,
    options: PullOptions,
  ): Promise<Image> {
    const image = await this.#documents.image(descriptor, platform)
    if (options.platform !== undefined) checkPlatform(image, wanted, id)
    // What is missing of it can be had again by a name only.
    const [name] = references
    const origin = name === undefined ? {} : { reference: parseReference(name), auth: options.auth }
    return await this.#ready(image, origin, options)
  }

  async #ready(
    image: ImageDocuments,
    origin: BlobOrigin,
    options: Pick<PullOptions, 'onProgress' | 'signal'>,
  ): Promise<Image> {
    const top = image.chain.at(-1)
    if (top !== undefined && !(await this.#snapshotter.has(top))) {
      await unpackImage(this.#context, image, origin, options)
    }
    this.#settler.later(image.chain)
    return await this.#wrap(image)
  }

  async #make(
    { reference, platform, signal }: MadeImageOptions & ImageFromOptions,
    write: (store: ContentStore) => Promise<Descriptor>,
  ): Promise<Image> {
    const names = reference === undefined ? [] : [nameOf(this.#taggable(reference))]
    const made = this.#wantedPlatform(platform)
    const image = await makeImage(this.#context, made, names, signal, () => write(this.#store))
    this.#settler.later(image.chain)
    return await this.#wrap(image)
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

  #taggable(text: string): Reference {
    const reference = parseReference(text)
    if (reference.digest === undefined) return reference
    throw keelsonError(
      'KEELSON_INVALID_REFERENCE',
      `"${printable(text)}" names an image by digest, which cannot be given to another.`,
      { hint: 'Use a name with a tag.' },
    )
  }

  async #all(): Promise<Image[]> {
    const all = await this.#catalog.all()
    return all.map(({ documents, names }) => new Image(documents, names, this))
  }

  async #wrap(documents: ImageDocuments): Promise<Image> {
    return new Image(documents, await this.#store.names.namesOf(documents.descriptor.digest), this)
  }

  async #again(image: Image): Promise<Image> {
    return await this.#wrap(await this.#documents.image(image.descriptor, image.platform))
  }

  async #refuseUsed(image: Image): Promise<void> {
    const users = (await this.#containers()).filter((each) => each.image.digest === image.digest)
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
    return await sweep(this.#store, this.#helper, {
      ...options,
      expand: (descriptor) => this.#documents.reach(descriptor),
      snapshots: await this.#snapshots(),
      held: async () => (await this.#containers()).map(({ image }) => image),
    })
  }

  #wantedPlatform(platform: string | Platform | undefined): Platform {
    if (platform === undefined) return this.#platform
    return typeof platform === 'string' ? parsePlatform(platform) : normalizePlatform(platform)
  }
}

const ID_PREFIX = /^(?:sha256:|sha512:)?[0-9a-f]+$/
/** What may be an id where a name is expected; so many digits as Docker shows. */
const IMAGE_ID = /^(?:sha256:[0-9a-f]{1,64}|[0-9a-f]{12,64})$/
/** What can be nothing else: names have neither 64 digits, nor an algorithm for theirs. */
const CERTAIN_ID = /^(?:sha256:[0-9a-f]+|[0-9a-f]{64})$/

function notFound(name: string, hint: string, cause?: unknown): KeelsonError {
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

function checkPolicy(policy: PullPolicy): PullPolicy {
  if (policy === 'missing' || policy === 'always' || policy === 'never') return policy
  throw keelsonError('KEELSON_INVALID_OPTION', `"${String(policy)}" is not a pull policy.`, {
    hint: 'It is missing, always or never.',
  })
}
