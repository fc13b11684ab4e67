import { createHash, type Hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { digestAlgorithm, type Digest } from '../oci/digest.ts'
import { ApiError } from './api-error.ts'
import type { ByteRange } from './range.ts'

/** Where a registry keeps bytes. Content is named by its digest alone; which repository it belongs to is not known here. */
export interface Blobs {
  /** `undefined` when there is no such blob. */
  size(digest: Digest): Promise<number | undefined>
  /** Reads a blob that {@link size} has found. */
  open(digest: Digest, range?: ByteRange): Readable
  /** Begins a blob whose digest is not known yet. */
  begin(): Promise<BlobWriter>
  remove(digest: Digest): Promise<void>
  close(): Promise<void>
}

/** A blob being received. */
export interface BlobWriter {
  /** Bytes so far. */
  readonly size: number
  append(chunk: Uint8Array): Promise<void>
  /**
   * Makes the blob available, provided that it has this digest.
   *
   * @throws an {@link ApiError} `DIGEST_INVALID`; the bytes are gone then
   */
  commit(digest: Digest): Promise<void>
  abort(): Promise<void>
}

/** Blobs in memory. */
export class MemoryBlobs implements Blobs {
  readonly #blobs = new Map<Digest, { chunks: Uint8Array[]; size: number }>()

  size(digest: Digest): Promise<number | undefined> {
    return Promise.resolve(this.#blobs.get(digest)?.size)
  }

  open(digest: Digest, range?: ByteRange): Readable {
    const blob = this.#blobs.get(digest)
    const chunks = blob?.chunks ?? []
    return Readable.from(range === undefined ? chunks : slice(chunks, range), { objectMode: false })
  }

  begin(): Promise<BlobWriter> {
    const chunks: Uint8Array[] = []
    const hash = new RunningHash()
    const writer = {
      size: 0,
      append: (chunk: Uint8Array) => {
        hash.update(chunk)
        chunks.push(chunk)
        writer.size += chunk.length
        return Promise.resolve()
      },
      commit: (digest: Digest) => {
        hash.verify(digest)
        this.#blobs.set(digest, { chunks, size: writer.size })
        return Promise.resolve()
      },
      abort: () => {
        chunks.length = 0
        return Promise.resolve()
      },
    }
    return Promise.resolve(writer)
  }

  remove(digest: Digest): Promise<void> {
    this.#blobs.delete(digest)
    return Promise.resolve()
  }

  close(): Promise<void> {
    this.#blobs.clear()
    return Promise.resolve()
  }
}

/** Hashes with both algorithms, because the digest is only named when the last byte has come. */
export class RunningHash {
  readonly #hashes: Record<'sha256' | 'sha512', Hash> = {
    sha256: createHash('sha256'),
    sha512: createHash('sha512'),
  }

  update(chunk: Uint8Array): void {
    this.#hashes.sha256.update(chunk)
    this.#hashes.sha512.update(chunk)
  }

  /** @throws an {@link ApiError} `DIGEST_INVALID` */
  verify(expected: Digest): void {
    const algorithm = digestAlgorithm(expected)
    const actual = `${algorithm}:${this.#hashes[algorithm].digest('hex')}`
    if (actual !== expected) {
      throw new ApiError(400, 'DIGEST_INVALID', 'the content does not have this digest', {
        expected,
        actual,
      })
    }
  }
}

function* slice(chunks: readonly Uint8Array[], { start, end }: ByteRange): Generator<Uint8Array> {
  let offset = 0
  for (const chunk of chunks) {
    const from = Math.max(start - offset, 0)
    const to = Math.min(end + 1 - offset, chunk.length)
    if (from < to) yield chunk.subarray(from, to)
    offset += chunk.length
    if (offset > end) return
  }
}
