import { randomBytes } from 'node:crypto'
import { open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { KeelsonError, keelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { digestAlgorithm, digestOf, finishDigest, startDigest, type Digest } from '../oci/digest.ts'
import type { Helper } from '../runtime/protocol.ts'
import { throwIfAborted } from '../util/abort.ts'
import { converting, errnoOf, storageError } from './errno.ts'
import { Layout } from './layout.ts'
import { acquireLock, type Lock } from './lock.ts'
import { Names } from './names.ts'
import { digestMismatch, hashFile, Partial } from './partial.ts'
import { syncDirectory, TEMPORARY_SUFFIX } from './records.ts'

/** Where the bytes of a blob come from, beginning at an offset. It ends, or throws, soon after its signal fires. */
export type BlobSource = (offset: number) => AsyncIterable<Uint8Array>

export interface IngestOptions {
  signal?: AbortSignal | undefined
  /** Bytes of the blob that are here, those of an earlier attempt included. */
  onProgress?: (bytes: number) => void
  /** Called once when the growing file has something to read, with its path; not called when the blob is here already. */
  onPartial?: (path: string) => void
  /** Called when all bytes are here and are about to be proved and put on the disk. */
  onVerify?: () => void
  /** Called before bytes that a reader may be following are taken away, with the reason. */
  onDiscard?: (reason: unknown) => void
}

/**
 * Blobs by digest in an OCI image layout that any number of processes share.
 *
 * Nothing gets its place before its size and digest are proved and it is on the disk. A blob that no name in
 * `index.json` leads to is swept, so whoever adds one holds a {@link lease} until it is named.
 */
export class ContentStore {
  readonly layout: Layout
  readonly names: Names
  readonly #helper: Helper

  private constructor(layout: Layout, helper: Helper) {
    this.layout = layout
    this.names = new Names(layout, helper)
    this.#helper = helper
  }

  /** Makes `root/content` an image layout if it is none yet, and repairs what a crash left. */
  static async open(root: string, helper: Helper): Promise<ContentStore> {
    const layout = new Layout(root)
    await layout.create()
    const store = new ContentStore(layout, helper)
    await store.names.open()
    return store
  }

  /** Keeps the sweep out while content is added that no name holds yet. Any number at once. */
  lease(options?: { signal?: AbortSignal | undefined }): Promise<Lock> {
    return acquireLock(this.#helper, this.layout.storeLock, 'shared', options)
  }

  path(digest: Digest): string {
    return this.layout.blob(digest)
  }

  /** Whether the blob is here, whole and proved. */
  async has(digest: Digest): Promise<boolean> {
    return (await this.size(digest)) !== undefined
  }

  /** Bytes of the blob; `undefined` when it is not here. */
  async size(digest: Digest): Promise<number | undefined> {
    const path = this.path(digest)
    try {
      return (await stat(path)).size
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined
      throw storageError(error, 'read', path)
    }
  }

  /**
   * The whole of a small blob, proved again.
   *
   * @throws `KEELSON_BLOB_NOT_FOUND`, `KEELSON_SIZE_MISMATCH`, `KEELSON_DIGEST_MISMATCH` (a damaged disk: see {@link discard})
   */
  async read(descriptor: Pick<Descriptor, 'digest' | 'size'>): Promise<Buffer> {
    const { digest, size } = descriptor
    const path = this.path(digest)
    checkSize(descriptor, await this.size(digest))
    const bytes = await converting('read', path, () => readFile(path))
    const actual = digestOf(bytes, digestAlgorithm(digest))
    if (bytes.length !== size || actual !== digest) throw digestMismatch(digest, actual)
    return bytes
  }

  /** Adds bytes that are here already. The caller holds a {@link lease}. */
  async write(
    bytes: Uint8Array | string,
    mediaType: string,
    options: { digest?: Digest | undefined } = {},
  ): Promise<Descriptor> {
    const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    const wanted = options.digest
    const digest = digestOf(data, wanted === undefined ? 'sha256' : digestAlgorithm(wanted))
    if (wanted !== undefined && wanted !== digest) throw digestMismatch(wanted, digest)
    const descriptor = { mediaType, digest, size: data.length }
    if (await this.verify(descriptor)) return descriptor
    const temporary = join(
      this.layout.ingest,
      `${randomBytes(8).toString('hex')}${TEMPORARY_SUFFIX}`,
    )
    await converting('write', this.path(digest), async () => {
      try {
        const file = await open(temporary, 'wx', 0o644)
        try {
          await file.writeFile(data)
          await file.sync()
        } finally {
          await file.close()
        }
        await this.#commit(temporary, digest)
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
    })
    return descriptor
  }

  /**
   * Adds a blob from a stream: hashed on the way, resumed where an interrupted attempt (in this process or another, dead or
   * alive) ended. One writer among all processes; others wait and find the blob. The caller holds a {@link lease}.
   *
   * On failure nothing is left but a half blob that can be resumed: after an abort, a cut, a short body. A body that ends in
   * a wrong digest or is too long is deleted, and so is everything when the disk is full.
   *
   * @throws `KEELSON_SIZE_MISMATCH`, `KEELSON_DIGEST_MISMATCH` (with `resumed` when a part came from an earlier attempt),
   * `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`, `KEELSON_ABORTED`, and what the source throws
   */
  async ingest(
    descriptor: Descriptor,
    source: BlobSource,
    options: IngestOptions = {},
  ): Promise<void> {
    if (await this.#present(descriptor)) return
    const { digest } = descriptor
    const lockPath = this.layout.partialLock(digest)
    await using _ = await acquireLock(this.#helper, lockPath, 'exclusive', options)
    if (!(await this.#present(descriptor))) await this.#fill(descriptor, source, options)
    // While we hold it: whoever waits on the removed file is told so by the helper, looks again and finds the blob.
    await rm(lockPath, { force: true })
  }

  /** Hashes a blob on the disk. False when it is missing or damaged. */
  async verify(
    descriptor: Descriptor,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    if ((await this.size(descriptor.digest)) !== descriptor.size) return false
    const path = this.path(descriptor.digest)
    return await converting('read', path, async () => {
      const file = await open(path, 'r')
      try {
        const hash = startDigest(descriptor.digest)
        await hashFile(file, hash, options?.signal)
        return finishDigest(hash, descriptor.digest) === descriptor.digest
      } finally {
        await file.close()
      }
    })
  }

  /** Removes a damaged blob, so that it is fetched again. */
  async discard(digest: Digest): Promise<void> {
    await converting('remove', this.path(digest), () => rm(this.path(digest), { force: true }))
  }

  async #fill(descriptor: Descriptor, source: BlobSource, options: IngestOptions): Promise<void> {
    const { digest, size } = descriptor
    const { signal, onProgress, onPartial, onVerify } = options
    await using partial = await Partial.open(this.layout.partial(digest), descriptor, signal)
    const resumed = partial.size
    try {
      let begun = false
      const report = () => {
        onProgress?.(partial.size)
        if (!begun && (partial.size > 0 || size === 0)) onPartial?.(partial.path)
        begun ||= partial.size > 0
      }
      report()
      if (partial.size < size) {
        for await (const bytes of source(partial.size)) {
          throwIfAborted(signal, 'The download')
          await partial.append(bytes)
          report()
        }
      }
      throwIfAborted(signal, 'The download')
      onVerify?.()
      await partial.finish()
      await this.#commit(partial.path, digest)
    } catch (error) {
      if (isHopeless(error, size)) {
        options.onDiscard?.(error)
        await partial.discard()
      }
      if (resumed > 0 && KeelsonError.is(error)) Object.assign(error, { resumed })
      throw error
    }
  }

  async #commit(file: string, digest: Digest): Promise<void> {
    const path = this.path(digest)
    await converting('write', path, () => rename(file, path))
    await syncDirectory(this.layout.blobs(digestAlgorithm(digest)))
  }

  async #present(descriptor: Descriptor): Promise<boolean> {
    const size = await this.size(descriptor.digest)
    if (size === undefined) return false
    checkSize(descriptor, size)
    return true
  }
}

/** Bytes that can never become the blob, or that fill the disk for others. A short body may still be completed. */
function isHopeless(error: unknown, size: number): boolean {
  if (!KeelsonError.is(error)) return false
  if (error.code === 'KEELSON_SIZE_MISMATCH')
    return 'actual' in error && Number(error.actual) > size
  return error.code === 'KEELSON_DIGEST_MISMATCH' || error.code === 'KEELSON_NO_SPACE'
}

export function blobNotFound(digest: Digest): KeelsonError {
  return keelsonError('KEELSON_BLOB_NOT_FOUND', `The store does not have ${digest}.`, {
    digest,
    hint: 'Pull the image again.',
  })
}

function checkSize(
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  actual: number | undefined,
): void {
  if (actual === size) return
  if (actual === undefined) {
    throw blobNotFound(digest)
  }
  throw keelsonError(
    'KEELSON_SIZE_MISMATCH',
    `${digest} has ${actual} bytes, but ${size} were said.`,
    {
      digest,
      expected: size,
      actual,
      hint: 'The manifest that says so is wrong; check the image.',
    },
  )
}
