import { keelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { ExecutionParameters } from '../oci/image-config.ts'
import { hostPlatform, normalizePlatform, parsePlatform, type Platform } from '../oci/platform.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import type { RegistryAuth } from '../registry/options.ts'
import type { Helper } from '../runtime/protocol.ts'
import type { Snapshotter } from '../snapshot/snapshotter.ts'
import type { ContentStore } from '../store/content.ts'
import type { SweptSnapshots } from '../store/gc.ts'
import { throwIfAborted } from '../util/abort.ts'
import type { Emit } from '../util/emit.ts'
import type { ImportOptions } from './archive/import.ts'
import type { ArchiveSource } from './archive/unpacked.ts'
import { nameOf } from './catalog.ts'
import { changedConfig, imageFromLayer, type LayeredOptions, type WrittenLayer } from './commit.ts'
import { Documents, type ImageDocuments } from './documents.ts'
import type { ImageEvents } from './events.ts'
import type { ImageFiles } from './files.ts'
import type { ImageFilter } from './find.ts'
import { imageFromFiles, type ImageFromOptions } from './from.ts'
import { imageFromHost, type ImageFromHostOptions } from './from-host.ts'
import type { Image } from './image.ts'
import { LayerFetcher, type BlobOrigin, type Registry } from './layers.ts'
import type { PullProgress } from './progress.ts'
import { checkPlatform, makeImage, pullImage, unpackImage, type PullContext } from './pull.ts'
import type { PushRegistry } from './push.ts'
import { Settler } from './settle.ts'
import {
  imageNotFound,
  StoredImages,
  taggable,
  type PrunedImages,
  type PruneOptions,
} from './stored.ts'

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

export interface ImagesOptions {
  store: ContentStore
  snapshotter: Snapshotter
  /** Of every driver on this root, whichever this engine uses: asked when something is to be removed. */
  snapshots: () => Promise<readonly SweptSnapshots[]>
  registry: Registry & PushRegistry
  helper: Helper
  /** Default: this host's. */
  platform?: Platform
  /** Hears what happens to images. */
  emit?: Emit<ImageEvents>
  /** Manifests that containers were made from, by any process: asked when something is to be removed. */
  containers?: () => Promise<readonly { container: string; image: Descriptor }[]>
}

/**
 * The images of an engine: `engine.images`. They are files under the engine's root, shared by all engines on that root.
 */
export class Images {
  readonly #store: ContentStore
  readonly #snapshotter: Snapshotter
  readonly #documents: Documents
  readonly #context: PullContext
  readonly #platform: Platform
  readonly #stored: StoredImages
  readonly #settler: Settler

  /** @internal */
  constructor(options: ImagesOptions) {
    const { store, snapshotter, registry, platform = hostPlatform() } = options
    this.#store = store
    this.#snapshotter = snapshotter
    this.#documents = new Documents(store)
    this.#platform = platform
    this.#settler = new Settler(snapshotter)
    this.#stored = new StoredImages({
      containers: async () => [],
      emit: () => {},
      ...options,
      documents: this.#documents,
      platform,
    })
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
    const own = await this.#stored.byId(reference)
    if (own !== undefined) return await this.#identified(own, platform, options)
    const wanted = typeof reference === 'string' ? parseReference(reference) : reference
    const request = { ...options, reference: wanted, platform }
    const held = policy === 'always' ? undefined : await this.#stored.find(wanted, platform)
    if (held === undefined && policy === 'never') {
      throw imageNotFound(wanted.familiar(), 'Pull it first, or use policy "missing".')
    }
    const image = held ?? (await pullImage(this.#context, request))
    const ready = await this.#ready(image, request, request)
    if (held === undefined) this.#stored.tell('image.pull', ready, { reference: nameOf(wanted) })
    return ready
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
    const write = (store: ContentStore) => imageFromFiles(store, files, config, options)
    return await this.#make('image.create', options, write)
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
    const write = (store: ContentStore) => imageFromHost(store, programs, config, options)
    return await this.#make('image.create', options, write)
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
      const loaded = await this.#stored.wrap(image)
      this.#stored.tell('image.load', loaded, { references: [...each.names] })
      images.push(loaded)
    }
    return images
  }

  /**
   * Makes an image of a root file system in an archive, as {@link Container.export} and `docker export` write it: one layer, byte for byte.
   *
   * @param source a path, bytes or a stream of a tar archive, plain, gzip or (where Node has it) zstd
   * @throws `KEELSON_ARCHIVE_INVALID`, `KEELSON_LAYER_*`, `KEELSON_INVALID_REFERENCE`, `KEELSON_INVALID_PLATFORM`, `KEELSON_UNSUPPORTED`,
   * `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`, `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const image = await engine.images.import('root.tar.gz', { reference: 'base:1' })
   * await engine.run(image, ['/bin/true'])
   * ```
   */
  async import(
    source: ArchiveSource,
    options: MadeImageOptions &
      ImportOptions & { platform?: string | Platform; signal?: AbortSignal } = {},
  ): Promise<Image> {
    const platform = this.#wantedPlatform(options.platform)
    const { imageFromArchive } = await import('./archive/import.ts')
    const write = (store: ContentStore) => imageFromArchive(store, source, platform, options)
    return await this.#make('image.import', options, write)
  }

  /**
   * An image of the store, by name, by id or digest, or by the first digits of its id.
   *
   * @throws `KEELSON_IMAGE_NOT_FOUND`; `KEELSON_IMAGE_AMBIGUOUS` when several ids begin so; `KEELSON_INVALID_REFERENCE`
   */
  async get(refOrId: string): Promise<Image> {
    return await this.#stored.get(refOrId)
  }

  /** The images of the store, newest first. What is in the layout but is no whole image is left out. */
  async list(filter: ImageFilter = {}): Promise<Image[]> {
    return await this.#stored.list(filter)
  }

  /**
   * Removes images that nothing uses, and all content that no image and no container needs: what failed pulls left, too. Waits for pulls that
   * are running, in any process.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const { bytes } = await engine.images.prune({ all: true })
   * console.log(bytes)
   * ```
   */
  async prune(options: PruneOptions = {}): Promise<PrunedImages> {
    return await this.#stored.prune(options)
  }

  /**
   * An image that is another one and a layer more, ready to run.
   * @internal use `container.commit`
   */
  async layered(
    base: BaseImage,
    writeLayer: (file: string) => Promise<WrittenLayer>,
    options: MadeImageOptions & LayeredOptions,
  ): Promise<Image> {
    // What is wrong with it shows before the work.
    changedConfig(base.parameters, options.changes ?? {})
    const { reference, signal } = options
    const made = { platform: base.platform, ...(reference === undefined ? {} : { reference }) }
    const write = async (store: ContentStore) =>
      await imageFromLayer(
        store,
        await this.#documents.image(base.descriptor, base.platform),
        writeLayer,
        options,
      )
    return await this.#make(
      'image.create',
      signal === undefined ? made : { ...made, signal },
      write,
    )
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
    return await this.#stored.wrap(image)
  }

  async #make(
    what: 'image.create' | 'image.import',
    { reference, platform, signal }: MadeImageOptions & ImageFromOptions,
    write: (store: ContentStore) => Promise<Descriptor>,
  ): Promise<Image> {
    const names = reference === undefined ? [] : [nameOf(taggable(reference))]
    const wanted = this.#wantedPlatform(platform)
    const made = await makeImage(this.#context, wanted, names, signal, () => write(this.#store))
    this.#settler.later(made.chain)
    const image = await this.#stored.wrap(made)
    this.#stored.tell(what, image, { references: names })
    return image
  }

  #wantedPlatform(platform: string | Platform | undefined): Platform {
    if (platform === undefined) return this.#platform
    return typeof platform === 'string' ? parsePlatform(platform) : normalizePlatform(platform)
  }
}

function checkPolicy(policy: PullPolicy): PullPolicy {
  if (policy === 'missing' || policy === 'always' || policy === 'never') return policy
  throw keelsonError('KEELSON_INVALID_OPTION', `"${String(policy)}" is not a pull policy.`, {
    hint: 'It is missing, always or never.',
  })
}
