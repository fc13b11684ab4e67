import type { Containers } from './container/containers.ts'
import type { RunOptions } from './container/options/options.ts'
import type { RunningProcess } from './container/run/run.ts'
import type { EngineCore } from './engine-core.ts'
import type { DiskUsage } from './engine-df.ts'
import type { EngineInfo } from './engine-info.ts'
import type { EngineOptions } from './engine-options.ts'
import type { EngineEvent, EngineEvents } from './events/event.ts'
import type { EventsOptions } from './events/read.ts'
import type { Image } from './image/image.ts'
import type { Images } from './image/images.ts'
import type { Networks } from './network/networks.ts'
import type { Diagnosis } from './runtime/doctor.ts'
import type { Volumes } from './volume/volumes.ts'

/**
 * A container engine inside this process. Containers that it runs are bound to it: they end when it is closed, and when this process ends,
 * however it ends.
 *
 * @example
 * ```ts
 * import { Engine } from 'keelson'
 *
 * await using engine = await Engine.open()
 * const { stdout } = await engine.run('docker.io/library/alpine:3.22', ['echo', 'hello'])
 * ```
 */
export class Engine implements AsyncDisposable {
  readonly #core: EngineCore

  private constructor(core: EngineCore) {
    this.#core = core
  }

  /**
   * Opens an engine: finds and starts the helper, and repairs what engines that were killed have left behind.
   *
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_HELPER_NOT_FOUND`, `KEELSON_HELPER_VERSION`, `KEELSON_HELPER_FAILED` (as where user
   *   namespaces are forbidden), `KEELSON_PERMISSION`, `KEELSON_UNSUPPORTED`
   */
  static async open(options: EngineOptions = {}): Promise<Engine> {
    // Nearly all of the package. A program that imports it need not get this far.
    const { EngineCore } = await import('./engine-core.ts')
    return new Engine(await EngineCore.open(options))
  }

  /** The images of this engine's root. */
  get images(): Images {
    return this.#core.images
  }

  /** The containers of this engine's root. */
  get containers(): Containers {
    return this.#core.containers
  }

  /** The networks of this engine's root. */
  get networks(): Networks {
    return this.#core.networks
  }

  /** The volumes of this engine's root. */
  get volumes(): Volumes {
    return this.#core.volumes
  }

  /**
   * Runs one container to its end: created, started, waited for, removed. Like execa's: a program that does not end with 0 rejects with an
   * error of the result's shape, unless `reject: false`.
   *
   * @param image an image, the id of one that is there, or a name, which is pulled when it is missing
   * @param command replaces the image's; a string is one word, not a shell's line
   * @throws `KEELSON_INVALID_OPTION`, what {@link Images.pull} throws, `KEELSON_USER_NOT_FOUND`, `KEELSON_COMMAND_NOT_FOUND`,
   *   `KEELSON_COMMAND_NOT_EXECUTABLE`, `KEELSON_MOUNT_FAILED`, `KEELSON_CGROUP_UNAVAILABLE`, `KEELSON_START_FAILED`, and when the
   *   program ran: `KEELSON_EXIT_NONZERO`, `KEELSON_KILLED`, `KEELSON_OUT_OF_MEMORY`, `KEELSON_MAX_OUTPUT`, `KEELSON_TIMEOUT`,
   *   `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const result = await engine.run('docker.io/library/python:3.13', ['python', '-'], {
   *   stdin: 'print(6 * 7)',
   *   memory: '256m',
   *   timeout: '10s',
   *   reject: false,
   * })
   * console.log(result.stdout, result.exitCode)
   * ```
   */
  run(
    image: string | Image,
    command?: string | readonly string[],
    options: RunOptions = {},
  ): RunningProcess {
    return this.#core.run(image, command, options)
  }

  /**
   * What happens to containers, images, networks and volumes in all engines on this `runRoot`, in every program, in the order it happened;
   * what happened before, with `since`, too.
   * It begins with this call, not with the first step of the iteration, and ends with the engine.
   *
   * @throws `KEELSON_INVALID_OPTION`; the iteration `KEELSON_EVENTS_LOST` when events were removed before they were read, which takes some
   *   megabytes of them
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const filters = { type: ['container.exit', 'image'] }
   * for await (const event of engine.events({ since: '1h', until: new Date(), filters })) {
   *   console.log(event.time, event.type)
   *   if (event.type === 'container.exit') console.log(event.name, event.exitCode)
   *   if (event.type === 'image.pull') console.log(event.reference)
   * }
   * ```
   */
  events(options: EventsOptions = {}): AsyncIterableIterator<EngineEvent> {
    return this.#core.events(options)
  }

  /**
   * Hears what happens in all engines on this `runRoot`: the same as {@link Engine.events}. Listening does not keep the program running.
   *
   * @throws `KEELSON_INVALID_OPTION` for an event that there is not
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * engine.on('container.exit', ({ container, exitCode }) => console.log(container, exitCode))
   * ```
   */
  on<Name extends keyof EngineEvents>(
    name: Name,
    listener: (...event: EngineEvents[Name]) => void,
  ): this {
    this.#core.on(name, listener)
    return this
  }

  /** Stops hearing. */
  off<Name extends keyof EngineEvents>(
    name: Name,
    listener: (...event: EngineEvents[Name]) => void,
  ): this {
    this.#core.off(name, listener)
    return this
  }

  /** What this engine is and what it runs on. */
  async info(): Promise<EngineInfo> {
    return this.#core.info()
  }

  /** Versions of the package and of the running helper. */
  version(): { keelson: string; helper: string } {
    return this.#core.version()
  }

  /**
   * What images, containers and volumes take on the disk.
   *
   * @throws `KEELSON_IO`, `KEELSON_PERMISSION`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const { bytes, volumes } = await engine.df()
   * console.log(bytes, volumes.items)
   * ```
   */
  async df(): Promise<DiskUsage> {
    return await this.#core.df()
  }

  /**
   * What this host cannot do, and the remedy; what it can, too, with `ok: true`.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * for (const { ok, message, remedy } of await engine.doctor()) if (!ok) console.log(message, remedy)
   * ```
   */
  async doctor(): Promise<Diagnosis[]> {
    return await this.#core.doctor()
  }

  /** Ends every container of this engine and removes what it left. A second call waits for the first. */
  async close(): Promise<void> {
    await this.#core.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
