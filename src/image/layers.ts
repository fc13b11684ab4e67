import { KeelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { Compression } from '../oci/media-types.ts'
import type { Reference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { RegistryAuth } from '../registry/options.ts'
import type { Snapshotter } from '../snapshot/snapshotter.ts'
import { blobNotFound, type ContentStore } from '../store/content.ts'
import { deferred } from '../util/deferred.ts'
import { Flights } from '../util/flights.ts'
import type { LayerProgress } from './progress.ts'

/** Where content comes from. */
export type Registry = Pick<RegistryClient, 'manifest' | 'blob'>

/** Where to get the blobs of one image, and as whom. Without a reference they have to be here already. */
export interface BlobOrigin {
  reference?: Reference | undefined
  auth?: RegistryAuth | undefined
}

/** A layer and its place in an image. */
export interface LayerTask {
  descriptor: Descriptor
  compression: Compression
  diffId: Digest
  chainId: Digest
  /** Lowest first. */
  parents: readonly Digest[]
  parentsReady: Promise<unknown>
}

type DownloadEvent =
  | { kind: 'partial'; path: string }
  | { kind: 'bytes'; bytes: number }
  | { kind: 'verify' }
  | { kind: 'discard'; reason: unknown }
type UnpackEvent = { kind: 'read'; read: number }

/** Once for a half blob or a mirror that turned out wrong, once for a stranger's failure that need not be ours. */
const ATTEMPTS = 3

/**
 * Brings blobs into the store and layers into snapshots, each shared between all pulls of this process that want it: the work ends
 * when the last of them has lost interest. Between processes the locks of store and snapshots do the same.
 */
export class LayerFetcher {
  readonly #store: ContentStore
  readonly #snapshotter: Snapshotter
  readonly #registry: Registry
  readonly #downloads = new Flights<void, DownloadEvent>('The pull')
  readonly #unpacks = new Flights<void, UnpackEvent>('The pull')

  constructor(store: ContentStore, snapshotter: Snapshotter, registry: Registry) {
    this.#store = store
    this.#snapshotter = snapshotter
    this.#registry = registry
  }

  /** A blob that is no layer. The caller holds the store's lease. */
  async blob(
    descriptor: Descriptor,
    origin: BlobOrigin,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await this.#retrying(descriptor, signal, (mirrors) =>
      this.#download(descriptor, { ...origin, mirrors }, signal),
    )
  }

  /**
   * A layer's blob and snapshot, unpacked while it downloads. The caller holds the store's lease.
   * On failure or abort nothing is left but a half blob that can be resumed.
   */
  async layer(
    task: LayerTask,
    origin: BlobOrigin,
    progress: LayerProgress,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { descriptor, chainId } = task
    const [blob, snapshot] = await Promise.all([
      this.#store.has(descriptor.digest),
      this.#snapshotter.has(chainId),
    ])
    if (blob && snapshot) return progress.finish('exists')
    const onEvent = (event: DownloadEvent) => {
      if (event.kind === 'bytes') progress.download(event.bytes)
      if (event.kind === 'verify') progress.verify()
    }
    await this.#retrying(descriptor, signal, async (mirrors) => {
      const source = { ...origin, mirrors }
      await together(signal, [
        (own) => this.#download(descriptor, source, own, onEvent).then(() => progress.verify()),
        (own) => this.#unpack(task, source, own, ({ read }) => progress.unpack(read)),
      ])
    })
    progress.finish('done')
  }

  #download(
    descriptor: Descriptor,
    origin: BlobOrigin & { mirrors: boolean },
    signal: AbortSignal | undefined,
    onEvent?: (event: DownloadEvent) => void,
  ): Promise<void> {
    return this.#downloads.join(
      descriptor.digest,
      (flight, emit) =>
        this.#store.ingest(
          descriptor,
          (offset) => {
            const { reference, auth, mirrors } = origin
            if (reference === undefined) throw blobNotFound(descriptor.digest)
            return this.#registry.blob(reference, descriptor, {
              auth,
              mirrors,
              offset,
              signal: flight,
            })
          },
          {
            signal: flight,
            onProgress: (bytes) => emit({ kind: 'bytes', bytes }),
            onPartial: (path) => emit({ kind: 'partial', path }),
            onVerify: () => emit({ kind: 'verify' }),
            onDiscard: (reason) => emit({ kind: 'discard', reason }),
          },
        ),
      { signal, ...(onEvent === undefined ? {} : { onEvent }) },
    )
  }

  #unpack(
    task: LayerTask,
    origin: BlobOrigin & { mirrors: boolean },
    signal: AbortSignal,
    onEvent: (event: UnpackEvent) => void,
  ): Promise<void> {
    const work = async (flight: AbortSignal, emit: (event: UnpackEvent) => void) => {
      if (await this.#snapshotter.has(task.chainId)) return
      const { partial, whole, ended } = await this.#readable(task.descriptor, origin, flight)
      const { descriptor, ...layer } = task
      const blob = this.#store.path(descriptor.digest)
      const unpack = async (own: AbortSignal) => {
        try {
          await this.#snapshotter.unpack(
            { ...layer, blob, partial, size: descriptor.size },
            { signal: own, onProgress: (read) => emit({ kind: 'read', read }) },
          )
        } catch (error) {
          // The layer may be malformed, or only its bytes wrong, for which another attempt is the cure: the digest tells.
          if (KeelsonError.is(error) && isDamage(error)) await whole
          throw error
        }
      }
      // A download that fails ends the unpacking that waits for its bytes. It is over when what it got is off the disk: who tried
      // again before would join it, and fail with it.
      const download = async () => {
        try {
          await whole
        } finally {
          await ended
        }
      }
      await together(flight, [download, unpack])
    }
    return this.#unpacks.join(task.chainId, work, { signal, onEvent })
  }

  /** Resolves as soon as the blob, or a growing part of it, can be read. `whole` settles when all of it is here, `ended` when the download has. */
  async #readable(
    descriptor: Descriptor,
    origin: BlobOrigin & { mirrors: boolean },
    signal: AbortSignal,
  ): Promise<{ partial: string | undefined; whole: Promise<void>; ended: Promise<unknown> }> {
    const growing = deferred<string>()
    // Heard before the reader sees its file vanish, which it would take for a broken archive.
    const discarded = deferred<never>()
    const download = this.#download(descriptor, origin, signal, (event) => {
      if (event.kind === 'partial') growing.resolve(event.path)
      if (event.kind === 'discard') discarded.reject(event.reason)
    })
    const whole = Promise.race([download, discarded.promise])
    const ended = download.catch(() => undefined)
    try {
      const partial = await Promise.race([growing.promise, whole.then(() => undefined)])
      return { partial, whole, ended }
    } catch (error) {
      await ended
      throw error
    }
  }

  /**
   * Tries again what may go well the next time: bytes that were wrong because of what an earlier attempt or a mirror left (the half
   * blob is deleted by then), a blob that the disk damaged, and the failure of another pull's work that this one had joined.
   */
  async #retrying(
    descriptor: Descriptor,
    signal: AbortSignal | undefined,
    attempt: (mirrors: boolean) => Promise<void>,
  ): Promise<void> {
    let mirrors = true
    for (let left = ATTEMPTS - 1; ; left--) {
      const joined = this.#downloads.has(descriptor.digest)
      const here = await this.#store.has(descriptor.digest)
      try {
        return await attempt(mirrors)
      } catch (error) {
        if (left === 0 || signal?.aborted === true || !KeelsonError.is(error)) throw error
        if (mirrors && isWrongBlob(error, descriptor)) mirrors = false
        else if (here && isDamage(error)) {
          if (await this.#store.verify(descriptor, { signal })) throw error
          await this.#store.discard(descriptor.digest)
        } else if (!joined) throw error
      }
    }
  }
}

/** What was downloaded is wrong, as against what it unpacks to. */
function isWrongBlob(error: KeelsonError, { digest }: Descriptor): boolean {
  return (
    error.code === 'KEELSON_DIGEST_MISMATCH' && 'expected' in error && error.expected === digest
  )
}

/** What unpacking says of a blob whose bytes are not what they were. */
function isDamage(error: KeelsonError): boolean {
  return error.code === 'KEELSON_LAYER_INVALID' || error.code === 'KEELSON_DIGEST_MISMATCH'
}

/**
 * Runs all at once; the first to fail stops the others. Settles only when all have ended, and then with the first failure.
 */
export async function together(
  signal: AbortSignal | undefined,
  works: readonly ((signal: AbortSignal) => Promise<unknown>)[],
): Promise<void> {
  const controller = new AbortController()
  const own =
    signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal])
  let failed = false
  let failure: unknown
  const settled = works.map((work) =>
    work(own).catch((error: unknown) => {
      if (failed) return
      failed = true
      failure = error
      controller.abort(error)
    }),
  )
  await Promise.all(settled)
  if (failed) throw failure
}
