import type { Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rm, type FileHandle } from 'node:fs/promises'
import { keelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { finishDigest, startDigest, type Digest } from '../oci/digest.ts'
import { throwIfAborted } from '../util/abort.ts'
import { storageError } from './errno.ts'

/** Bytes that may wait in memory while the disk is slower than the network. */
const HIGH_WATER = 4 * 1024 * 1024
const READ_SIZE = 1024 * 1024
/** Node has no letter for it: read and write, made when missing, never truncated. */
const CREATE_READ_WRITE = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW

/**
 * A half blob on the disk: what is there already is hashed again, what comes is appended and hashed on the way.
 * Only one writer may have it; the caller holds its lock.
 */
export class Partial implements AsyncDisposable {
  readonly path: string
  readonly #file: FileHandle
  readonly #hash: Hash
  readonly #expected: Descriptor
  #size: number
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  #writing: Promise<void> | undefined
  #failure: unknown

  private constructor(path: string, file: FileHandle, expected: Descriptor) {
    this.path = path
    this.#file = file
    this.#hash = startDigest(expected.digest)
    this.#expected = expected
    this.#size = 0
  }

  /** Opens or makes the file and hashes what an earlier, interrupted ingest left in it. */
  static async open(
    path: string,
    expected: Descriptor,
    signal: AbortSignal | undefined,
  ): Promise<Partial> {
    const file = await openFile(path)
    const partial = new Partial(path, file, expected)
    try {
      await partial.#rehash(signal)
      return partial
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** Bytes that are there and hashed: where a source has to go on. */
  get size(): number {
    return this.#size
  }

  /**
   * Takes the next bytes; resolves when more may come.
   * @throws `KEELSON_SIZE_MISMATCH` when they go past the size that the blob must have, before any of them is written
   */
  async append(bytes: Uint8Array): Promise<void> {
    if (this.#size + bytes.length > this.#expected.size) {
      throw sizeMismatch(this.#expected, this.#size + bytes.length, 'more')
    }
    this.#hash.update(bytes)
    this.#size += bytes.length
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
    this.#writing ??= this.#drain()
    if (this.#pendingBytes >= HIGH_WATER) await this.#flush()
    this.#check()
  }

  /**
   * Proves the whole and puts it on the disk.
   * @throws `KEELSON_SIZE_MISMATCH` when bytes are missing, `KEELSON_DIGEST_MISMATCH`
   */
  async finish(): Promise<void> {
    await this.#flush()
    const { digest, size } = this.#expected
    if (this.#size < size) throw sizeMismatch(this.#expected, this.#size, 'less')
    const actual = finishDigest(this.#hash, digest)
    if (actual !== digest) throw digestMismatch(digest, actual)
    try {
      await this.#file.sync()
    } catch (error) {
      throw storageError(error, 'write', this.path)
    }
  }

  /** Removes the file: its bytes can never become the blob. */
  async discard(): Promise<void> {
    await rm(this.path, { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing
    await this.#file.close()
  }

  async #rehash(signal: AbortSignal | undefined): Promise<void> {
    try {
      const { size } = await this.#file.stat()
      // Longer than the blob: not ours, or another blob's descriptor lied. Begin anew.
      if (size > this.#expected.size) return await this.#file.truncate(0)
      this.#size = await hashFile(this.#file, this.#hash, signal)
    } catch (error) {
      throw storageError(error, 'read', this.path)
    }
  }

  /** Writes what waits, in as few system calls as may be, until nothing does. Never rejects: see `#check`. */
  async #drain(): Promise<void> {
    try {
      while (this.#pending.length > 0) {
        const batch = this.#pending
        const at = this.#size - this.#pendingBytes
        this.#pending = []
        this.#pendingBytes = 0
        await writeAll(this.#file, batch, at)
      }
    } catch (error) {
      this.#failure = storageError(error, 'write', this.path)
    } finally {
      this.#writing = undefined
    }
  }

  async #flush(): Promise<void> {
    await this.#writing
    this.#check()
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure
  }
}

/** Feeds a whole file to a hash; the number of bytes it had. */
export async function hashFile(
  file: FileHandle,
  hash: Hash,
  signal: AbortSignal | undefined,
): Promise<number> {
  const buffer = Buffer.allocUnsafe(READ_SIZE)
  let size = 0
  for (;;) {
    throwIfAborted(signal, 'The check of the content')
    const { bytesRead } = await file.read(buffer, 0, buffer.length, size)
    if (bytesRead === 0) return size
    hash.update(buffer.subarray(0, bytesRead))
    size += bytesRead
  }
}

export function digestMismatch(expected: Digest, actual: string) {
  return keelsonError(
    'KEELSON_DIGEST_MISMATCH',
    `The content is not what its digest ${expected} says: it has ${actual}.`,
    {
      expected,
      actual,
      hint: 'The registry or a proxy on the way altered it, or it was pushed broken; pull again or ask who pushed it.',
    },
  )
}

function sizeMismatch(expected: Descriptor, actual: number, than: 'more' | 'less') {
  return keelsonError(
    'KEELSON_SIZE_MISMATCH',
    `The registry sent ${than} than the ${expected.size} bytes that ${expected.digest} has.`,
    {
      digest: expected.digest,
      expected: expected.size,
      actual,
      hint: 'Pull again; if it stays so, the image was pushed broken or a proxy alters it.',
    },
  )
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    // 'a+' would append wherever the end is; the position must be ours.
    return await open(path, CREATE_READ_WRITE, 0o644)
  } catch (error) {
    throw storageError(error, 'write', path)
  }
}

async function writeAll(file: FileHandle, batch: Uint8Array[], position: number): Promise<void> {
  const total = batch.reduce((sum, bytes) => sum + bytes.length, 0)
  const { bytesWritten } = await file.writev(batch, position)
  if (bytesWritten === total) return
  // A nearly full disk takes a part; writing the rest says why.
  const rest = Buffer.concat(batch).subarray(bytesWritten)
  let done = 0
  while (done < rest.length) {
    done += (await file.write(rest, done, rest.length - done, position + bytesWritten + done))
      .bytesWritten
  }
}
