import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import type { Extract, Header } from 'tar-stream'
import { KeelsonError, keelsonError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { converting, storageError } from '../../store/errno.ts'
import { TEMPORARY_SUFFIX } from '../../store/records.ts'
import { throwIfAborted } from '../../util/abort.ts'

/** Where an archive comes from: a path of this host, its bytes, or a stream of them. */
export type ArchiveSource = string | Uint8Array | AsyncIterable<Uint8Array>

/** A file of the archive, in a temporary place. */
export interface UnpackedFile {
  path: string
  size: number
  digest: Digest
  compression: 'none' | 'gzip' | 'zstd'
}

/** Real archives have a few files an image. */
const MAX_FILES = 100_000
const MAX_DOCUMENT = 8 * 1024 * 1024

/** The files of an archive, hashed on the way, in a directory that goes with its scope. Their names never become paths. */
export class Unpacked implements AsyncDisposable {
  readonly #directory: string
  readonly #files = new Map<string, UnpackedFile>()
  readonly #links = new Map<string, string>()

  private constructor(directory: string) {
    this.#directory = directory
  }

  /**
   * @param ingest where the temporary directory lies; a crash leaves it with the suffix that the sweep knows
   * @throws `KEELSON_ARCHIVE_INVALID`, `KEELSON_NO_SPACE`, `KEELSON_IO`, `KEELSON_ABORTED`
   */
  static async read(
    source: ArchiveSource,
    ingest: string,
    signal: AbortSignal | undefined,
  ): Promise<Unpacked> {
    const directory = join(ingest, `${randomBytes(8).toString('hex')}${TEMPORARY_SUFFIX}`)
    await converting('create', directory, () => mkdir(directory, { mode: 0o700 }))
    const unpacked = new Unpacked(directory)
    try {
      await unpacked.#read(source, signal)
      return unpacked
    } catch (error) {
      await unpacked[Symbol.asyncDispose]()
      throwIfAborted(signal, 'Reading the archive')
      throw KeelsonError.is(error) ? error : archiveError(error)
    }
  }

  /** A file by its name; links inside of the archive are followed. */
  file(name: string): UnpackedFile | undefined {
    let path = normal(name)
    for (let links = 0; links < 8; links++) {
      const target = this.#links.get(path)
      if (target === undefined) return this.#files.get(path)
      path = target
    }
    return undefined
  }

  /** The whole of a small one. */
  async text(name: string): Promise<Buffer | undefined> {
    const file = this.file(name)
    if (file === undefined) return undefined
    if (file.size > MAX_DOCUMENT) {
      throw keelsonError(
        'KEELSON_ARCHIVE_INVALID',
        `The archive's ${posix.basename(name)} has ${file.size} bytes.`,
        {
          limit: MAX_DOCUMENT,
        },
      )
    }
    return await converting('read', file.path, () => readFile(file.path))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }

  async #read(source: ArchiveSource, signal: AbortSignal | undefined): Promise<void> {
    const { extract } = await import('tar-stream')
    const tar = extract()
    const feeding = pipeline(
      await plainBytes(source),
      tar,
      ...(signal === undefined ? [] : [{ signal }]),
    )
    feeding.catch(() => undefined)
    await this.#entries(tar, signal)
    await feeding
  }

  async #entries(tar: Extract, signal: AbortSignal | undefined): Promise<void> {
    for await (const entry of tar) {
      throwIfAborted(signal, 'Reading the archive')
      const { header } = entry
      if (this.#files.size + this.#links.size >= MAX_FILES) {
        throw keelsonError(
          'KEELSON_ARCHIVE_INVALID',
          `The archive has more than ${MAX_FILES} files.`,
        )
      }
      const name = normal(header.name)
      if (header.type === 'symlink' || header.type === 'link') this.#link(name, header)
      if (header.type === 'file' || header.type === 'contiguous-file') {
        this.#files.set(name, await this.#store(entry))
      } else {
        entry.resume()
      }
    }
  }

  #link(name: string, { type, linkname }: Header): void {
    if (typeof linkname !== 'string') return
    const target = type === 'link' ? linkname : posix.join(posix.dirname(name), linkname)
    this.#links.set(name, normal(target))
  }

  async #store(entry: AsyncIterable<unknown>): Promise<UnpackedFile> {
    const path = join(this.#directory, String(this.#files.size))
    const hash = createHash('sha256')
    let size = 0
    let start = Buffer.alloc(0)
    const counted = async function* () {
      for await (const piece of entry) {
        const chunk = piece as Buffer
        if (start.length < 4) start = Buffer.concat([start, chunk.subarray(0, 4)])
        hash.update(chunk)
        size += chunk.length
        yield chunk
      }
    }
    try {
      await pipeline(counted, createWriteStream(path, { flags: 'wx', mode: 0o600 }))
    } catch (error) {
      const code = (error as { code?: unknown }).code
      throw code === 'ENOSPC' || code === 'EDQUOT' ? storageError(error, 'write', path) : error
    }
    return {
      path,
      size,
      digest: `sha256:${hash.digest('hex')}`,
      compression: compressionOf(start),
    }
  }
}

export function compressionOf(start: Buffer): UnpackedFile['compression'] {
  if (start[0] === 0x1f && start[1] === 0x8b) return 'gzip'
  return start.subarray(0, 4).equals(ZSTD) ? 'zstd' : 'none'
}

const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])

/** The bytes of a source, read when they are wanted. */
export async function openArchive(source: ArchiveSource): Promise<Readable> {
  if (typeof source === 'string') {
    const file = await converting('read', source, () => open(source, 'r'))
    return file.createReadStream()
  }
  if (source instanceof Uint8Array)
    return Readable.from([Buffer.from(source)], { objectMode: false })
  if (typeof source === 'object' && source !== null && Symbol.asyncIterator in source) {
    return source instanceof Readable ? source : Readable.from(source, { objectMode: false })
  }
  throw keelsonError('KEELSON_INVALID_OPTION', 'An archive is a path, bytes or a stream.', {
    option: 'source',
  })
}

/** Without gzip around it. */
async function plainBytes(source: ArchiveSource): Promise<Readable> {
  const input = await openArchive(source)
  const iterator = input[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  const first = await iterator.next()
  const start = first.done === true ? Buffer.alloc(0) : Buffer.from(first.value)
  const whole = Readable.from(
    (async function* () {
      yield start
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
        yield next.value
      }
    })(),
    { objectMode: false },
  )
  if (compressionOf(start) !== 'gzip') return whole
  const gunzip = createGunzip()
  whole.once('error', (error) => gunzip.destroy(error))
  return whole.pipe(gunzip)
}

function normal(name: string): string {
  return posix.join('/', name).slice(1).replace(/\/$/, '')
}

export function archiveError(cause: unknown): KeelsonError {
  const what = cause instanceof Error ? cause.message : String(cause)
  return keelsonError('KEELSON_ARCHIVE_INVALID', `The archive cannot be read: ${what}.`, {
    cause,
    hint: 'Give a tar archive, plain or gzip.',
  })
}

/** The bytes of an unpacked file from an offset. */
export function contentOf(file: UnpackedFile): (start: number) => AsyncIterable<Uint8Array> {
  return (start) => createReadStream(file.path, { start, highWaterMark: 256 * 1024 })
}
