import { existsSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { keelsonError, type KeelsonError } from '../errors.ts'
import { helperFailure } from '../runtime/connection.ts'
import type { RequestOptions } from '../runtime/protocol.ts'
import { convertingFile, fileError } from '../snapshot/files/failure.ts'
import { offered, send } from '../snapshot/files/stream.ts'
import { converting } from '../store/errno.ts'
import { volumeUsers } from './claims.ts'
import type { VolumesContext } from './context.ts'
import { localSource } from './local.ts'
import { makeVolume } from './make.ts'
import type { VolumeRecord } from './record.ts'
import { removeVolume } from './remove.ts'
import { checkVolumeName } from './volume-options.ts'

/** What {@link Volume.inspect} tells. */
export interface VolumeInspect {
  name: string
  driver: string
  createdAt: Date
  options: Record<string, string>
  labels: Record<string, string>
  /** Host path of its files; absent where they are mounted for each container anew, or by another driver. */
  path?: string
  /** Made for a container, without a name. */
  anonymous: boolean
  /** Ids of the containers that use it, whether they run or not. */
  containers: string[]
}

/** What a volume takes on its disk. */
export interface VolumeSize {
  bytes: number
  /** Files and directories. */
  inodes: number
}

/**
 * Files that outlive containers, and that several can share.
 *
 * @example
 * ```ts
 * import { createReadStream, createWriteStream } from 'node:fs'
 * import { pipeline } from 'node:stream/promises'
 * import { Engine } from 'keelson'
 *
 * await using engine = await Engine.open()
 * const data = await engine.volumes.create({ name: 'data' })
 * await pipeline(data.export(), createWriteStream('backup.tar'))
 * await data.import(createReadStream('backup.tar'))
 * ```
 */
export class Volume {
  readonly #context: VolumesContext
  /** @internal */
  readonly record: VolumeRecord

  /** @internal use `engine.volumes` */
  constructor(context: VolumesContext, record: VolumeRecord) {
    this.#context = context
    this.record = record
  }

  get name(): string {
    return this.record.name
  }

  get labels(): Readonly<Record<string, string>> {
    return this.record.labels
  }

  async inspect(): Promise<VolumeInspect> {
    const { name, driver, createdAt, options, labels, anonymous } = this.record
    const path = this.#path()
    return {
      name,
      driver,
      createdAt: new Date(createdAt),
      options,
      labels,
      ...(path !== undefined && { path }),
      anonymous: anonymous !== undefined,
      containers: await volumeUsers(this.#context, name),
    }
  }

  /**
   * Removes it and what is in it. Of one that is not there any more, nothing is to be done.
   *
   * @throws `KEELSON_VOLUME_IN_USE` with the `containers`, running or not, that use it; `KEELSON_VOLUME_DRIVER`
   */
  async remove(): Promise<void> {
    await removeVolume(this.#context, this.record)
  }

  /**
   * All its files as a tar archive: owners, modes, times to the nanosecond, links, devices and extended attributes are kept (PAX). A program
   * that writes meanwhile may be caught half way: stop it first, or let it make a backup itself.
   *
   * @throws `KEELSON_UNSUPPORTED` where its files are mounted for each container anew; the stream fails with `KEELSON_VOLUME_NOT_FOUND`,
   *   `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { createWriteStream } from 'node:fs'
   * import { pipeline } from 'node:stream/promises'
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const volume = await engine.volumes.get('data')
   * await pipeline(volume.export(), createWriteStream('data.tar'))
   * ```
   */
  export({ signal }: { signal?: AbortSignal } = {}): Readable {
    const directory = this.#mustHavePath()
    return offered(
      (request) =>
        this.#context.helper.request(
          'archive.create',
          { directory, sources: [{ path: '/', name: '', follow: true }] },
          request,
        ),
      (error) => this.#failure(error, 'export'),
      signal,
    )
  }

  /**
   * Unpacks a tar archive (plain, gzip or zstd) into it. What is there and not in the archive stays. On failure or abort what had been
   * unpacked by then stays, too.
   *
   * @throws `KEELSON_ARCHIVE_INVALID`, `KEELSON_UNSUPPORTED` as {@link Volume.export}, `KEELSON_VOLUME_NOT_FOUND`, `KEELSON_NO_SPACE`,
   *   `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { createReadStream } from 'node:fs'
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const volume = await engine.volumes.get('data')
   * await volume.import(createReadStream('data.tar'))
   * ```
   */
  async import(
    archive: Uint8Array | AsyncIterable<Uint8Array>,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<void> {
    const directory = this.#mustHavePath()
    const { helper, devices, owners } = this.#context
    const start = (request: RequestOptions) =>
      helper.request('archive.extract', { directory, path: '/', devices, owners }, request)
    const source = archive instanceof Uint8Array ? once(archive) : archive
    try {
      await convertingFile('import into', this.name, () => send(start, source, signal))
    } catch (error) {
      throw this.#failure(error, 'import into')
    }
  }

  /**
   * Another volume with the same files and labels. Where the file system can (btrfs, xfs), both share the disk's blocks until one is
   * written, which takes no time however large they are.
   *
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_NAME_IN_USE`, `KEELSON_UNSUPPORTED` as {@link Volume.export}, `KEELSON_VOLUME_NOT_FOUND`,
   *   `KEELSON_NO_SPACE`, `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const volume = await engine.volumes.get('data')
   * await volume.clone('data-of-test')
   * ```
   */
  async clone(name: string, { signal }: { signal?: AbortSignal } = {}): Promise<Volume> {
    checkVolumeName(name, 'name')
    const from = this.#mustHavePath()
    const { helper } = this.#context
    const record: VolumeRecord = {
      name,
      createdAt: new Date().toISOString(),
      driver: 'local',
      options: {},
      labels: { ...this.labels },
    }
    await makeVolume(this.#context, record, (to) =>
      converting('clone', this.name, () =>
        helper.request('tree.copy', { from, to }, { signal }),
      ).catch((error: unknown) => {
        throw this.#failure(error, 'clone')
      }),
    )
    return new Volume(this.#context, record)
  }

  /**
   * What it takes on its disk. Blocks that a clone shares count with each.
   *
   * @throws `KEELSON_UNSUPPORTED` as {@link Volume.export}, `KEELSON_VOLUME_NOT_FOUND`, `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const volume = await engine.volumes.get('data')
   * const { bytes, inodes } = await volume.size()
   * console.log(bytes, inodes)
   * ```
   */
  async size({ signal }: { signal?: AbortSignal } = {}): Promise<VolumeSize> {
    const path = this.#mustHavePath()
    const { helper } = this.#context
    try {
      return await converting('measure', path, () =>
        helper.request('tree.usage', { path }, { signal }),
      )
    } catch (error) {
      throw this.#failure(error, 'measure')
    }
  }

  #path(): string | undefined {
    const { name, driver, options } = this.record
    if (driver !== 'local') return undefined
    const source = localSource(options, this.#context.places.data(name))
    return source.kind === 'directory' ? source.path : undefined
  }

  #mustHavePath(): string {
    const path = this.#path()
    if (path !== undefined) return path
    throw keelsonError(
      'KEELSON_UNSUPPORTED',
      `The files of the volume ${this.name} can be reached in containers alone.`,
      {
        volume: this.name,
        hint: 'Run a container that mounts it, and copy by copyOut() and copyIn().',
      },
    )
  }

  #failure(error: unknown, doing: string): unknown {
    // Whatever went wrong in it: it was removed meanwhile.
    if (!existsSync(this.#context.places.record(this.name))) return volumeNotFound(this.name, error)
    return helperFailure(error) === undefined ? error : fileError(error, doing, this.name)
  }
}

export function volumeNotFound(name: string, cause?: unknown): KeelsonError {
  return keelsonError('KEELSON_VOLUME_NOT_FOUND', `There is no volume ${name}.`, {
    volume: name,
    ...(cause !== undefined && { cause }),
    hint: 'engine.volumes.list() shows those that are there; engine.volumes.create() makes one.',
  })
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes
}
