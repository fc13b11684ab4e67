import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { Helper, RootPlace } from '../../runtime/protocol.ts'
import { keelsonError } from '../../errors.ts'
import { convertingFile, fileError, readError } from './failure.ts'
import { checkPath, shown, toWire, type FilePath } from './names.ts'
import { FileEntry, FileStat } from './stat.ts'
import { offered, receive } from './stream.ts'

/** A root file system as long as it may be used. */
export interface OpenRoot extends AsyncDisposable {
  place: RootPlace
}

export interface RootOptions {
  /** Whether something is going to be changed. */
  write: boolean
  /** Whether what is mounted in it is wanted, too. Default true. */
  submounts?: boolean
  signal?: AbortSignal | undefined
}

/** Where files are: what {@link Files} asks of a container or an image. */
export interface RootAccess {
  readonly helper: Helper
  /** Keeps the root file system what it is (running, or not running) until it is disposed of. */
  open(options: RootOptions): Promise<OpenRoot>
}

export interface FileOptions {
  signal?: AbortSignal
}

/** Larger files come over a pipe: they would not fit into a frame. */
const SMALL = 4 * 1024 * 1024

/**
 * Files of a root file system, to be read without running anything in it. Paths are resolved inside of it by the kernel: symbolic links,
 * `..` and what other processes do meanwhile never lead out.
 *
 * @example
 * ```ts
 * import { Engine } from 'keelson'
 *
 * await using engine = await Engine.open()
 * const image = await engine.images.pull('docker.io/library/alpine:3.22')
 * console.log(await image.files().readFile('/etc/os-release', 'utf8'))
 * ```
 */
export class Files {
  /** @internal */
  protected readonly access: RootAccess

  /** @internal */
  constructor(access: RootAccess) {
    this.access = access
  }

  /**
   * The whole content of a file; with an encoding, as text.
   *
   * @throws `KEELSON_FILE_NOT_FOUND`, `KEELSON_IS_A_DIRECTORY`, `KEELSON_NOT_A_DIRECTORY`, `KEELSON_NOT_A_FILE`, `KEELSON_PERMISSION`,
   * `KEELSON_IO`, `KEELSON_ABORTED`
   */
  async readFile(path: FilePath, options?: FileOptions & { encoding?: null }): Promise<Buffer>
  async readFile(
    path: FilePath,
    options: BufferEncoding | (FileOptions & { encoding: BufferEncoding }),
  ): Promise<string>
  async readFile(
    path: FilePath,
    options: BufferEncoding | (FileOptions & { encoding?: BufferEncoding | null }) = {},
  ): Promise<Buffer | string> {
    const { encoding, signal } =
      typeof options === 'string' ? { encoding: options } : { signal: undefined, ...options }
    if (encoding !== undefined && encoding !== null && !Buffer.isEncoding(encoding)) {
      throw keelsonError('KEELSON_INVALID_OPTION', `"${String(encoding)}" is no encoding.`, {
        hint: 'Use "utf8", or leave it out for bytes.',
      })
    }
    const bytes = await this.#bytes(path, signal)
    return typeof encoding === 'string' ? bytes.toString(encoding) : bytes
  }

  /** The content of a file as a stream, whatever its size. Errors are those of {@link readFile}. */
  createReadStream(path: FilePath, { signal }: FileOptions = {}): Readable {
    const at = shown(checkPath(path))
    return offered(
      (options) =>
        this.with(false, options.signal, (place) =>
          this.access.helper.request('fs.open', { ...place, path: toWire(path) }, options),
        ),
      (error) => fileError(error, 'read', at),
      signal,
    )
  }

  /**
   * The entries of a directory, sorted by name: names, or with `withFileTypes` a {@link FileEntry} each.
   *
   * @throws what {@link readFile} throws
   */
  async readdir(
    path: FilePath,
    options?: FileOptions & { withFileTypes?: false },
  ): Promise<string[]>
  async readdir(
    path: FilePath,
    options: FileOptions & { withFileTypes: true },
  ): Promise<FileEntry[]>
  async readdir(
    path: FilePath,
    { withFileTypes = false, signal }: FileOptions & { withFileTypes?: boolean } = {},
  ): Promise<string[] | FileEntry[]> {
    const entries = await this.list('read', path, signal, (place, options) =>
      this.access.helper.request('fs.list', { ...place, path: toWire(path) }, options),
    )
    const read = entries.map((entry) => new FileEntry(entry))
    return withFileTypes ? read : read.map(({ name }) => name)
  }

  /** What is known of a file; symbolic links are followed, inside of the root file system. */
  async stat(path: FilePath, options: FileOptions = {}): Promise<FileStat> {
    return await this.#stat(path, true, options)
  }

  /** The same of a symbolic link itself. */
  async lstat(path: FilePath, options: FileOptions = {}): Promise<FileStat> {
    return await this.#stat(path, false, options)
  }

  /** Where a symbolic link points to. */
  async readlink(path: FilePath, options: FileOptions = {}): Promise<string> {
    const { link } = await this.#stat(path, false, options)
    if (link !== undefined) return link
    throw readError('EINVAL', shown(path))
  }

  /** @internal */
  protected async with<T>(
    write: boolean,
    signal: AbortSignal | undefined,
    work: (place: RootPlace) => Promise<T>,
  ): Promise<T> {
    await using root = await this.access.open({ write, signal })
    return await work(root.place)
  }

  /** @internal */
  protected async list<T>(
    doing: string,
    path: FilePath,
    signal: AbortSignal | undefined,
    start: (
      place: RootPlace,
      options: { signal?: AbortSignal | undefined },
    ) => Promise<{ entries: T[] | null }>,
  ): Promise<T[]> {
    const at = shown(checkPath(path))
    return await convertingFile(doing, at, () =>
      this.with(false, signal, (place) => readList((options) => start(place, options), signal)),
    )
  }

  async #bytes(path: FilePath, signal: AbortSignal | undefined): Promise<Buffer> {
    const at = shown(checkPath(path))
    const paths = [toWire(path)]
    const [file] = await convertingFile('read', at, () =>
      this.with(false, signal, async (place) => {
        const args = { ...place, paths, limit: SMALL }
        return (await this.access.helper.request('fs.read', args, { signal })).files
      }),
    )
    if (file !== undefined && 'data' in file) return Buffer.from(file.data, 'base64')
    if (file?.errno === 'EFBIG')
      return await buffer(this.createReadStream(path, signal === undefined ? {} : { signal }))
    throw readError(file?.errno ?? 'EIO', at)
  }

  async #stat(path: FilePath, follow: boolean, { signal }: FileOptions): Promise<FileStat> {
    return await convertingFile('look at', shown(checkPath(path)), () =>
      this.with(false, signal, async (place) => {
        const args = { ...place, path: toWire(path), follow }
        return new FileStat(await this.access.helper.request('fs.stat', args, { signal }))
      }),
    )
  }
}

/** A list that comes in the answer or, too long for that, as JSON over a pipe. */
export async function readList<T>(
  start: (options: Parameters<Helper['request']>[2] & object) => Promise<{ entries: T[] | null }>,
  signal: AbortSignal | undefined,
): Promise<T[]> {
  let entries: T[] | null = null
  const chunks: Uint8Array[] = []
  const answered = async (options: object) => {
    entries = (await start(options)).entries
  }
  for await (const chunk of receive(answered, signal)) chunks.push(chunk)
  return entries ?? (JSON.parse(Buffer.concat(chunks).toString('utf8')) as T[])
}
