import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { keelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { printable, show } from '../util/printable.ts'
import { converting } from '../store/errno.ts'
import { Container } from './container.ts'
import type { ContainersContext } from './containers-context.ts'
import { closedError, ContainerCore } from './core.ts'
import { createContainer } from './lifecycle/create.ts'
import type { CreateOptions } from './options/create-options.ts'
import { checkFilters, matchesFilters, type ContainerFilters } from './filters.ts'
import { readName, releaseStale } from './record/names.ts'
import { FULL_ID } from './record/places.ts'
import { refuseUnknown } from './normalize/call.ts'
import type { OciConfig } from './config/oci-runtime.ts'
import { aboutContainer } from './lifecycle/plan.ts'
import { RECORD } from './record/places.ts'
import { loadRecord, type ContainerRecord } from './record/record.ts'
import { isActive } from './lifecycle/state.ts'
import { mountedImages, releaseVolumes } from './config/volumes.ts'

export interface ListOptions {
  /** Also those that do not run. Default `false`, unless a `status` is asked for. */
  all?: boolean
  filters?: ContainerFilters
}

/** What a prune removed. */
export interface PrunedContainers {
  /** Ids. */
  containers: string[]
}

/** See {@link ContainerPlaces.dead}. */
const DEAD = /^\.([0-9a-f]{64})\.dead$/

/**
 * The containers of an engine's root: `engine.containers`. They are files under the root, so every engine on it sees the same.
 */
export class Containers {
  readonly #context: ContainersContext
  /** One object a container, so that all who hold it see the same state. */
  readonly #known = new Map<string, Container>()

  /** @internal */
  constructor(context: ContainersContext) {
    this.#context = context
  }

  /**
   * Makes a container, without starting it. Everything is checked before anything is made; on failure or abort nothing is left.
   *
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_NAME_IN_USE`, what `images.pull` throws, `KEELSON_USER_NOT_FOUND`,
   *   `KEELSON_CGROUP_UNAVAILABLE`, `KEELSON_UNSUPPORTED`, `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.create({
   *   image: 'docker.io/library/redis:8',
   *   name: 'cache',
   *   memory: '256m',
   *   restart: 'on-failure:3',
   *   detached: true,
   * })
   * await container.start()
   * ```
   */
  async create(options: CreateOptions): Promise<Container> {
    this.#mustBeOpen()
    const { record, config } = await createContainer(this.#context, options)
    this.#context.journal.append({
      time: record.createdAt,
      type: 'container.create',
      container: record.id,
      ...aboutContainer(record),
    })
    const container = this.#know(record, config)
    const { logs } = options
    if (typeof logs === 'object' && typeof logs.driver === 'function') {
      container.core.sink = logs.driver
    }
    // The engine was closed meanwhile, and does not know of this one.
    if (this.#context.run.closing.aborted && !record.options.detached) {
      await container.remove({ force: true, volumes: true })
      this.#mustBeOpen()
    }
    return container
  }

  /**
   * Creates and starts one. With `await using` it is killed and removed where the variable ends. Of one that cannot be started nothing is
   * left.
   *
   * @throws what {@link Containers.create} and {@link Container.start} throw
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * await using web = await engine.containers.run({ image: 'docker.io/library/nginx:1.29' })
   * console.log(web.name, await web.status())
   * ```
   */
  async run(options: CreateOptions): Promise<Container> {
    const container = await this.create(options)
    try {
      await container.start(options.signal === undefined ? {} : { signal: options.signal })
      return container
    } catch (error) {
      await container.remove({ force: true, volumes: true })
      throw error
    }
  }

  /**
   * A container by its id, its name, or the first digits of its id.
   *
   * @throws `KEELSON_CONTAINER_NOT_FOUND`; `KEELSON_CONTAINER_AMBIGUOUS` when several ids begin so
   */
  async get(nameOrId: string): Promise<Container> {
    this.#mustBeOpen()
    if (typeof nameOrId !== 'string') {
      throw keelsonError('KEELSON_INVALID_OPTION', `${show(nameOrId)} is no name or id.`, {
        hint: 'Give the name or the id of a container.',
      })
    }
    const { places } = this.#context
    const name = nameOrId.replace(/^\//, '')
    const id = FULL_ID.test(name)
      ? name
      : ((await readName(places, name)) ?? (await this.#byPrefix(name)))
    const record = id === undefined ? undefined : await this.#load(id)
    if (record !== undefined) return this.#know(record)
    throw keelsonError(
      'KEELSON_CONTAINER_NOT_FOUND',
      `There is no container "${printable(nameOrId)}".`,
      {
        container: nameOrId,
        hint: 'engine.containers.list({ all: true }) shows those that are there.',
      },
    )
  }

  /**
   * Those that run, or all, newest first.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const failed = await engine.containers.list({ filters: { status: 'exited', label: 'app=shop' } })
   * for (const { name, image } of failed) console.log(name, image)
   * ```
   */
  async list(options: ListOptions = {}): Promise<Container[]> {
    this.#mustBeOpen()
    refuseUnknown(options, ['all', 'filters'], 'list()')
    const { filters = {} } = options
    checkFilters(filters)
    const all = options.all ?? filters.status !== undefined
    const found = await Promise.all((await this.#ids()).map((id) => this.#listed(id, all, filters)))
    return found
      .filter((container) => container !== undefined)
      .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime())
  }

  /**
   * Removes containers that do not run. Those that were never started too.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const { containers } = await engine.containers.prune({ filters: { label: 'app=shop' } })
   * console.log(containers)
   * ```
   */
  async prune(
    options: { filters?: Omit<ContainerFilters, 'status'> } = {},
  ): Promise<PrunedContainers> {
    const containers = await this.list({ all: true, ...options })
    const pruned = await Promise.all(
      containers.map(async (container) => {
        if (isActive(await container.status())) return []
        try {
          await container.remove()
          return [container.id]
        } catch (error) {
          // Somebody started it meanwhile.
          if (isActive(await container.status())) return []
          throw error
        }
      }),
    )
    return { containers: pruned.flat() }
  }

  /** What images the containers of this root were made from, and have mounted. @internal */
  async images(): Promise<{ container: string; image: Descriptor }[]> {
    const records = await Promise.all((await this.#ids()).map((id) => this.#record(id)))
    return records
      .filter((record) => record !== undefined)
      .flatMap(({ id, image, options }) =>
        [image, ...mountedImages(options.mounts)].map(({ descriptor }) => ({
          container: id,
          image: descriptor,
        })),
      )
  }

  /** Starts what a crash of the host or of a monitor ended. @internal */
  async startAgain(ids: readonly string[]): Promise<void> {
    await Promise.all(
      ids.map(async (id) => {
        try {
          await (await this.get(id)).start()
        } catch (error) {
          this.#context.run.warn('container-restart', `Container ${id}: ${String(error)}`)
        }
      }),
    )
  }

  /** Removes those bound to this engine, and lets go of the others. @internal */
  async close(): Promise<void> {
    const own = [...this.#known.values()].filter(
      ({ core }) =>
        !core.record.options.detached && core.record.owner.engine === this.#context.engine,
    )
    const ended = await Promise.allSettled(
      own.map(async (container) => {
        // The next engine tries it again.
        if ((await container.status()) === 'dead') return
        await container.remove({ force: true, volumes: true })
      }),
    )
    for (const { core } of this.#known.values()) core.shut()
    const failures = ended.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
    if (failures.length > 0) {
      throw new AggregateError(failures, 'Some containers could not be removed.')
    }
  }

  async #listed(
    id: string,
    all: boolean,
    filters: ContainerFilters,
  ): Promise<Container | undefined> {
    const record = await this.#record(id)
    if (record === undefined) return undefined
    const container = this.#know(record)
    const status = await container.status()
    if (!all && !isActive(status)) return undefined
    return matchesFilters({ ...record, status }, filters) ? container : undefined
  }

  /** One that is being removed has none any more; one that cannot be read must not hide the others. */
  async #record(id: string): Promise<ContainerRecord | undefined> {
    try {
      return await this.#load(id)
    } catch (error) {
      this.#context.run.warn('container-record', error instanceof Error ? error.message : '')
      return undefined
    }
  }

  async #byPrefix(prefix: string): Promise<string | undefined> {
    if (!/^[0-9a-f]+$/.test(prefix)) return undefined
    const ids = (await this.#ids()).filter((id) => id.startsWith(prefix))
    if (ids.length > 1) {
      throw keelsonError(
        'KEELSON_CONTAINER_AMBIGUOUS',
        `${ids.length} containers have an id that begins with "${prefix}".`,
        { ids, hint: 'Give more digits of it.' },
      )
    }
    return ids[0]
  }

  async #ids(): Promise<string[]> {
    const { records } = this.#context.places
    const names = await converting('read', records, () => readdir(records))
    return names.flatMap((name) => {
      const id = DEAD.exec(name)?.[1] ?? name
      return FULL_ID.test(id) ? [id] : []
    })
  }

  async #load(id: string): Promise<ContainerRecord | undefined> {
    const { places } = this.#context
    return (
      (await loadRecord(places.record(id))) ?? (await loadRecord(join(places.dead(id), RECORD)))
    )
  }

  #know(record: ContainerRecord, config?: OciConfig): Container {
    const known = this.#known.get(record.id)
    if (known !== undefined) {
      known.core.record = record
      return known
    }
    const core = new ContainerCore(this.#context, record, () => this.#forget(core))
    const container = new Container(core, config)
    this.#known.set(record.id, container)
    return container
  }

  #forget({ id, record }: ContainerCore): void {
    this.#known.delete(id)
    if (!record.options.autoRemove) return
    const { run } = this.#context
    const released = this.#release(record)
      .catch((error: unknown) => {
        run.warn('container-left-behind', `Container ${id}: ${String(error)}`)
      })
      .finally(() => run.removing.delete(released))
    run.removing.add(released)
  }

  /** What its monitor, which has removed it, knows nothing of. */
  async #release(record: ContainerRecord): Promise<void> {
    const { run, places } = this.#context
    await releaseVolumes(run, record.id, record.options.mounts)
    await releaseStale(run.launcher, places, record)
  }

  #mustBeOpen(): void {
    if (!this.#context.run.closing.aborted) return
    throw closedError()
  }
}
