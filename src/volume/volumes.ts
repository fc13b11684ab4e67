import { randomBytes } from 'node:crypto'
import { KeelsonError } from '../errors.ts'
import { show } from '../util/printable.ts'
import { volumeUsers } from './claims.ts'
import type { VolumesContext } from './context.ts'
import { makeVolume } from './make.ts'
import { loadVolume, loadVolumes, type VolumeRecord } from './record.ts'
import { Volume, volumeNotFound } from './volume.ts'
import { normalizeVolume, type VolumeOptions } from './volume-options.ts'

/** Which volumes to list. All that are given must hold. */
export interface VolumeFilters {
  /** `key`, `key=value`. Every one must be there. */
  label?: string | string[]
  /** Part of the name. */
  name?: string
  driver?: string
  /** Whether no container uses it. */
  dangling?: boolean
}

/** What a prune removed. */
export interface PrunedVolumes {
  /** Names. */
  volumes: string[]
  /** That they took on the disk. */
  bytes: number
}

/** Marks a volume that nobody has named; Docker's. */
export const ANONYMOUS_LABEL = 'com.docker.volume.anonymous'

/** The volumes of an engine's root: `engine.volumes`. They are files under the root, so every engine on it sees the same. */
export class Volumes {
  readonly #context: VolumesContext

  /** @internal use `engine.volumes` */
  constructor(context: VolumesContext) {
    this.#context = context
  }

  /**
   * Makes a volume.
   *
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_NAME_IN_USE`, `KEELSON_VOLUME_DRIVER`, `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * await engine.volumes.create({ name: 'data', labels: { app: 'shop' } })
   * await engine.run('docker.io/library/alpine:3.22', ['touch', '/data/file'], {
   *   mounts: ['data:/data'],
   * })
   * ```
   */
  async create(options: VolumeOptions = {}): Promise<Volume> {
    const { name, labels, driver, options: own } = normalizeVolume(options)
    const record: VolumeRecord = {
      name: name ?? randomBytes(32).toString('hex'),
      createdAt: new Date().toISOString(),
      driver,
      options: own,
      labels: { ...labels, ...(name === undefined && { [ANONYMOUS_LABEL]: '' }) },
    }
    await makeVolume(this.#context, record)
    return new Volume(this.#context, record)
  }

  /** A volume by its name. @throws `KEELSON_VOLUME_NOT_FOUND`, `KEELSON_VOLUME_RECORD` */
  async get(name: string): Promise<Volume> {
    const isName = typeof name === 'string' && /^[\w-][\w.-]*$/.test(name)
    const record = isName ? await loadVolume(this.#context.places, name) : undefined
    if (record === undefined) throw volumeNotFound(isName ? name : show(name))
    return new Volume(this.#context, record)
  }

  /**
   * Newest first.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const unused = await engine.volumes.list({ filters: { dangling: true, label: 'app=shop' } })
   * for (const { name } of unused) console.log(name)
   * ```
   */
  async list(options: { filters?: VolumeFilters } = {}): Promise<Volume[]> {
    const { filters = {} } = options
    const records = await loadVolumes(this.#context.places)
    const matching = await Promise.all(
      records.map(async (record) => (await this.#matches(record, filters)) && record),
    )
    return matching
      .filter((record) => record !== false)
      .sort((a, b) => b.createdAt.localeCompare(a.createdAt))
      .map((record) => new Volume(this.#context, record))
  }

  /**
   * Removes those that no container uses and that nobody has named; with `all`, named ones too.
   *
   * @throws `KEELSON_VOLUME_DRIVER`, `KEELSON_IO`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const { volumes, bytes } = await engine.volumes.prune()
   * console.log(volumes, bytes)
   * ```
   */
  async prune(
    options: { all?: boolean; filters?: Omit<VolumeFilters, 'dangling'> } = {},
  ): Promise<PrunedVolumes> {
    const { all = false, filters = {} } = options
    const volumes = await this.list({ filters: { ...filters, dangling: true } })
    const removed = await Promise.all(
      volumes
        .filter((volume) => all || ANONYMOUS_LABEL in volume.labels)
        .map((volume) => pruneOne(volume)),
    )
    const pruned = removed.filter((each) => each !== undefined)
    const result = {
      volumes: pruned.map(({ name }) => name),
      bytes: pruned.reduce((sum, { bytes }) => sum + bytes, 0),
    }
    this.#context.emit('volume.prune', result)
    return result
  }

  async #matches(record: VolumeRecord, filters: VolumeFilters): Promise<boolean> {
    const { name, driver, dangling } = filters
    if (name !== undefined && !record.name.includes(name)) return false
    if (driver !== undefined && record.driver !== driver) return false
    if (!hasLabels(record.labels, filters.label)) return false
    if (dangling === undefined) return true
    return ((await volumeUsers(this.#context, record.name)).length === 0) === dangling
  }
}

async function pruneOne(volume: Volume): Promise<{ name: string; bytes: number } | undefined> {
  const { path } = await volume.inspect()
  // What the device of a bind holds stays.
  const own = path !== undefined && volume.record.options['device'] === undefined
  try {
    const { bytes } = own ? await volume.size() : { bytes: 0 }
    await volume.remove()
    return { name: volume.name, bytes }
  } catch (error) {
    const code = KeelsonError.is(error) ? error.code : undefined
    // Somebody began to use it, or removed it, meanwhile, and may have made another.
    if (code === 'KEELSON_VOLUME_IN_USE' || code === 'KEELSON_VOLUME_NOT_FOUND') return undefined
    if ((error as { errno?: unknown }).errno === 'ENOENT') return undefined
    throw error
  }
}

function hasLabels(labels: Record<string, string>, wanted: string | string[] = []): boolean {
  return [wanted].flat().every((each) => {
    const [key = '', ...value] = each.split('=')
    const has = labels[key]
    return has !== undefined && (value.length === 0 || has === value.join('='))
  })
}
