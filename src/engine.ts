import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { setMaxListeners } from 'node:events'
import { homedir } from 'node:os'
import { Containers } from './container/containers.ts'
import type { ContainersContext } from './container/containers-context.ts'
import { ContainerPlaces } from './container/places.ts'
import { Removals } from './container/removals.ts'
import { repairContainers } from './container/repair.ts'
import { normalizeRunOptions } from './container/normalize.ts'
import type { RunOptions } from './container/options.ts'
import type { RunContext } from './container/context.ts'
import { failedRun, runContainer, type RunningProcess } from './container/run.ts'
import { openEngineDirectory } from './container/sweep.ts'
import { UserDatabases } from './container/user-lookup.ts'
import { resolveEngineOptions, type EngineOptions } from './engine-options.ts'
import { engineInfo, type EngineInfo } from './engine-info.ts'
import { keelsonError } from './errors.ts'
import { EventHub } from './event-hub.ts'
import { readEvents, type EngineEvent, type EngineEvents, type EventsOptions } from './events.ts'
import { Images } from './image/images.ts'
import { Image } from './image/image.ts'
import { RegistryClient } from './registry/client.ts'
import { openCgroupBase } from './runtime/cgroup-base.ts'
import { diagnose, type Diagnosis } from './runtime/doctor.ts'
import { readHostFacts, type HostFacts } from './runtime/host.ts'
import { Launcher } from './runtime/launcher.ts'
import type { ProbeResult } from './runtime/protocol.ts'
import { planUserNamespace } from './runtime/subids.ts'
import { appArmorParserInstalled } from './security/apparmor.ts'
import { openSnapshotter, snapshotTrees } from './snapshot/select.ts'
import { ContentStore } from './store/content.ts'
import { Journal } from './store/journal.ts'
import { VERSION } from './util/version.ts'

/** What an open engine consists of. */
interface Parts {
  images: Images
  containers: Containers
  context: RunContext
  probe: ProbeResult
  host: HostFacts
  snapshotter: 'overlay' | 'copy'
  root: string
  runRoot: string
  close: AbortController
  events: EventHub
  journal: Journal
  /** Newest last. */
  closing: AsyncDisposable[]
}

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
  readonly #parts: Parts
  #closed: Promise<void> | undefined

  private constructor(parts: Parts) {
    this.#parts = parts
  }

  /**
   * Opens an engine: finds and starts the helper, and repairs what engines that were killed have left behind.
   *
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_HELPER_NOT_FOUND`, `KEELSON_HELPER_VERSION`, `KEELSON_HELPER_FAILED` (as where user
   *   namespaces are forbidden), `KEELSON_PERMISSION`, `KEELSON_UNSUPPORTED`
   */
  static async open(options: EngineOptions = {}): Promise<Engine> {
    const caller = { uid: process.geteuid?.() ?? 0, home: homedir(), environment: process.env }
    const resolved = resolveEngineOptions(options, caller)
    const { root, runRoot } = resolved
    const host = await readHostFacts()
    await makeDirectories(root, runRoot)
    const close = new AbortController()
    // One for each program that runs, and any number may.
    setMaxListeners(0, close.signal)
    const closing: AsyncDisposable[] = []
    const own = <T extends AsyncDisposable>(part: T): T => {
      closing.push(part)
      return part
    }
    try {
      const user = host.rootless ? planUserNamespace(host) : undefined
      const launcher = await Launcher.start({ user })
      own({ [Symbol.asyncDispose]: () => launcher.close() })
      const probe = await launcher.request('probe', { directory: root })
      const engine = randomBytes(8).toString('hex')
      const { base: cgroups } = await openCgroupBase(host, { engine, pid: launcher.pid })
      const directory = own(await openEngineDirectory(launcher, runRoot, { engine, cgroups }))
      const snapshotter = own(
        await openSnapshotter({
          root,
          helper: launcher,
          driver: resolved.snapshotter,
          probe,
          rootless: host.rootless,
          owners: user !== undefined && user.newuidmap === undefined ? 'squash' : 'keep',
        }),
      )
      const store = await ContentStore.open(root, launcher)
      const registry = own(new RegistryClient({ registries: resolved.registries }))
      const places = new ContainerPlaces(root, runRoot)
      const journal = own(new Journal(places.journal))
      const events = new EventHub({
        journal,
        engine,
        closing: close.signal,
        onLost: (error) => resolved.onWarning({ code: 'events-lost', message: String(error) }),
      })
      const context: RunContext = {
        launcher,
        snapshotter,
        users: new UserDatabases(launcher, snapshotter),
        host,
        probe,
        user,
        cgroups,
        directory: directory.path,
        warn: (code, message) => resolved.onWarning({ code, message }),
        closing: close.signal,
        emit: (type, event) => events.emit(type, event),
        removing: new Set(),
        running: new Map(),
      }
      const images = new Images({
        store,
        snapshotter,
        snapshots: () => snapshotTrees(root, launcher),
        registry,
        helper: launcher,
        containers: async () => [
          ...[...context.running].map(([container, image]) => ({ container, image })),
          ...(await containers.images()),
        ],
      })
      const containersContext: ContainersContext = {
        run: context,
        images,
        places,
        journal,
        removals: new Removals(launcher, context.removing),
        engine,
        lease: () => store.lease(),
      }
      const containers = new Containers(containersContext)
      await containers.startAgain(await repairContainers(containersContext))
      return new Engine({
        images,
        containers,
        context,
        probe,
        host,
        snapshotter: snapshotter.name,
        root,
        runRoot,
        close,
        events,
        journal,
        closing,
      })
    } catch (error) {
      await dispose(closing)
      throw error
    }
  }

  /** The images of this engine's root. */
  get images(): Images {
    return this.#parts.images
  }

  /** The containers of this engine's root. */
  get containers(): Containers {
    return this.#parts.containers
  }

  /**
   * Runs one container to its end: created, started, waited for, removed. Like execa's: a program that does not end with 0 rejects with an
   * error of the result's shape, unless `reject: false`.
   *
   * @param image an image, or the name of one, which is pulled when it is missing
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
    try {
      this.#mustBeOpen()
      const normalized = normalizeRunOptions(command, options)
      return runContainer(this.#parts.context, this.#image(image, options), normalized)
    } catch (error) {
      return failedRun(error)
    }
  }

  /**
   * What happens in all engines on this `runRoot`, in every program, in the order it happened; what happened before, with `since`, too.
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
   * const filters = { type: ['container.start', 'container.exit'] }
   * for await (const event of engine.events({ since: '1h', until: new Date(), filters })) {
   *   console.log(event.time, event.type, event.name)
   * }
   * ```
   */
  events(options: EventsOptions = {}): AsyncIterableIterator<EngineEvent> {
    this.#mustBeOpen()
    const { journal, context } = this.#parts
    journal.flush()
    return readEvents(journal.directory, options, context.closing)
  }

  /**
   * Hears what happens in all engines on this `runRoot`: the same as {@link Engine.events}. Listening does not keep the program running.
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
    this.#parts.events.on(name, listener)
    return this
  }

  /** Stops hearing. */
  off<Name extends keyof EngineEvents>(
    name: Name,
    listener: (...event: EngineEvents[Name]) => void,
  ): this {
    this.#parts.events.off(name, listener)
    return this
  }

  /** What this engine is and what it runs on. */
  async info(): Promise<EngineInfo> {
    const { host, probe, context, snapshotter, root, runRoot } = this.#parts
    return engineInfo({ host, probe, cgroups: context.cgroups, snapshotter, root, runRoot })
  }

  /** Versions of the package and of the running helper. */
  version(): { keelson: string; helper: string } {
    return { keelson: VERSION, helper: this.#parts.context.launcher.version }
  }

  /** What this host cannot do, and the remedy; what it can, too, with `ok: true`. */
  async doctor(): Promise<Diagnosis[]> {
    const { host, probe, context } = this.#parts
    return diagnose(host, probe, context.cgroups, await appArmorParserInstalled())
  }

  /** Ends every container of this engine and removes what it left. A second call waits for the first. */
  async close(): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    const { context, closing, close, containers } = this.#parts
    close.abort()
    const failures: unknown[] = []
    await containers.close().catch((error: unknown) => failures.push(error))
    await Promise.allSettled(context.removing)
    await dispose(closing, failures)
  }

  #mustBeOpen(): void {
    if (this.#closed !== undefined) {
      throw keelsonError('KEELSON_CLOSED', 'The engine is closed.', { hint: 'Open another.' })
    }
  }

  async #image(image: string | Image, { platform, pull, signal }: RunOptions): Promise<Image> {
    if (image instanceof Image) return image
    return await this.images.pull(image, {
      ...(platform !== undefined && { platform }),
      ...(pull !== undefined && { policy: pull }),
      ...(signal !== undefined && { signal }),
    })
  }
}

async function makeDirectories(root: string, runRoot: string): Promise<void> {
  for (const path of [root, runRoot]) {
    try {
      await mkdir(path, { recursive: true, mode: 0o700 })
    } catch (cause) {
      throw keelsonError('KEELSON_PERMISSION', `The directory ${path} cannot be made.`, {
        cause,
        path,
        hint: 'Pass `root` and `runRoot` where this user may write.',
      })
    }
  }
}

/** Newest first, to the end, whatever fails. */
async function dispose(parts: AsyncDisposable[], failures: unknown[] = []): Promise<void> {
  for (const part of parts.splice(0).toReversed()) {
    try {
      await part[Symbol.asyncDispose]()
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, 'Closing the engine failed in part.')
}
