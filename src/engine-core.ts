import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { setMaxListeners } from 'node:events'
import { homedir } from 'node:os'
import { Containers } from './container/containers.ts'
import { findImage, mustNameImage } from './container/config/image.ts'
import type { ContainersContext } from './container/containers-context.ts'
import { ContainerPlaces } from './container/record/places.ts'
import { memberOf } from './container/config/member-of.ts'
import { Removals } from './container/lifecycle/removals.ts'
import { peerOf } from './container/namespaces/peer-of.ts'
import { connectContainer, disconnectContainer } from './container/networks/change.ts'
import { repairContainers } from './container/lifecycle/repair.ts'
import { normalizeRunOptions } from './container/normalize/normalize.ts'
import type { RunOptions } from './container/options/options.ts'
import type { RunContext } from './container/context.ts'
import { failedRun, runContainer, type RunningProcess } from './container/run/run.ts'
import { removeStandby } from './container/run/standby.ts'
import { Standbys } from './container/run/standbys.ts'
import { openEngineDirectory } from './container/run/sweep.ts'
import { UserDatabases } from './container/user/user-lookup.ts'
import { resolveEngineOptions, type EngineOptions } from './engine-options.ts'
import { diskUsage, type DiskUsage } from './engine-df.ts'
import { engineInfo, type EngineInfo } from './engine-info.ts'
import { keelsonError } from './errors.ts'
import { EventHub } from './events/hub.ts'
import type { EngineEvent, EngineEvents } from './events/event.ts'
import { readEvents, type EventsOptions } from './events/read.ts'
import { Images } from './image/images.ts'
import type { Image } from './image/image.ts'
import { sweepClaims } from './network/claims.ts'
import { Listeners } from './network/listen/listeners.ts'
import { Resolvers } from './network/resolve/resolvers.ts'
import { NetworkPlaces } from './network/places.ts'
import { sweepNetworks } from './network/sweep.ts'
import { Networks } from './network/networks.ts'
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
import type { VolumesContext } from './volume/context.ts'
import { VolumePlaces } from './volume/places.ts'
import { repairVolumes, sweepHalves } from './volume/repair.ts'
import { Volumes } from './volume/volumes.ts'

/** What an open engine consists of. */
interface Parts {
  images: Images
  containers: Containers
  networks: Networks
  volumes: Volumes
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

/** What an engine is made of and does: loaded with the first that is opened. */
export class EngineCore {
  readonly #parts: Parts
  #closed: Promise<void> | undefined

  private constructor(parts: Parts) {
    this.#parts = parts
  }

  static async open(options: EngineOptions): Promise<EngineCore> {
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
      const onLost = (error: unknown) =>
        resolved.onWarning({ code: 'events-lost', message: String(error) })
      const journal = own(new Journal(places.journal, { onLost }))
      const events = new EventHub({
        journal,
        engine,
        closing: close.signal,
        onLost,
      })
      // Rare, and of what no monitor writes down: a program that exits in the next moment must not take it along.
      const tell = <Type extends keyof EngineEvents>(type: Type, event: EngineEvents[Type][0]) => {
        events.emit(type, event)
        journal.flush()
      }
      const networkPlaces = new NetworkPlaces(root, runRoot)
      const removing = new Set<Promise<void>>()
      const ending = () => Promise.allSettled(removing)
      const listening = { helper: launcher, places: networkPlaces, owner: directory.path, ending }
      const listeners = own(new Listeners(listening))
      // Without the helper nobody keeps their addresses.
      launcher.onClose(() => void listeners[Symbol.asyncDispose]().catch(() => {}))
      const resolvers = own(
        new Resolvers({
          places: networkPlaces,
          directory: directory.path,
          warn: (code, message) => resolved.onWarning({ code, message }),
        }),
      )
      const networks = new Networks({
        helper: launcher,
        places: networkPlaces,
        members: {
          connect: async (network, member, wanted) =>
            await connectContainer((await containers.get(member)).core, network, wanted),
          disconnect: async (network, member, wanted) =>
            await disconnectContainer((await containers.get(member)).core, network, wanted),
        },
        ending,
        listen: (...args) => listeners.open(...args),
        resolve: (...args) => resolvers.open(...args),
        container: async (reference) => await memberOf((await containers.get(reference)).core),
        warn: (code, message) => resolved.onWarning({ code, message }),
        emit: tell,
      })
      own({ [Symbol.asyncDispose]: () => networks.close() })
      const volumesContext: VolumesContext = {
        helper: launcher,
        places: new VolumePlaces(root),
        drivers: new Map(resolved.volumeDrivers.map((driver) => [driver.name, driver])),
        devices: user === undefined ? 'create' : 'skip',
        owners: user !== undefined && user.newuidmap === undefined ? 'squash' : 'keep',
        isOver: ({ container, owners }) =>
          owners[0] === directory.path && !context.running.has(container),
        warn: (code, message) => resolved.onWarning({ code, message }),
        emit: tell,
      }
      const context: RunContext = {
        volumes: volumesContext,
        findImage: async (reference, signal) =>
          await images.pull(reference, signal === undefined ? {} : { signal }),
        launcher,
        snapshotter,
        users: new UserDatabases(launcher, snapshotter),
        host,
        probe,
        user,
        cgroups,
        places,
        peer: async (reference) => await peerOf((await containers.get(reference)).core),
        directory: directory.path,
        warn: (code, message) => resolved.onWarning({ code, message }),
        closing: close.signal,
        emit: (type, event) => events.emit(type, event),
        removing,
        running: new Map(),
        standbys: own(new Standbys((standby) => removeStandby(launcher, standby))),
        networking: { networks, places: networkPlaces },
      }
      const images = new Images({
        store,
        snapshotter,
        snapshots: () => snapshotTrees(root, launcher),
        registry,
        helper: launcher,
        emit: tell,
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
      await sweepClaims({ helper: launcher, places: networkPlaces })
      await sweepHalves(volumesContext)
      const again = await repairContainers(containersContext)
      // After what containers had on networks that are no more has been given back.
      await sweepNetworks({ helper: launcher, places: networkPlaces })
      await repairVolumes(volumesContext)
      await containers.startAgain(again)
      return new EngineCore({
        images,
        containers,
        networks,
        volumes: new Volumes(volumesContext),
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

  get images(): Images {
    return this.#parts.images
  }

  get containers(): Containers {
    return this.#parts.containers
  }

  get networks(): Networks {
    return this.#parts.networks
  }

  get volumes(): Volumes {
    return this.#parts.volumes
  }

  run(
    image: string | Image,
    command: string | readonly string[] | undefined,
    options: RunOptions,
  ): RunningProcess {
    try {
      this.#mustBeOpen()
      mustNameImage(image)
      const normalized = normalizeRunOptions(command, options)
      const found = findImage(this.images, { ...options, image })
      return runContainer(this.#parts.context, found, normalized)
    } catch (error) {
      return failedRun(error)
    }
  }

  events(options: EventsOptions): AsyncIterableIterator<EngineEvent> {
    this.#mustBeOpen()
    const { journal, context } = this.#parts
    journal.flush()
    return readEvents(journal.directory, options, context.closing)
  }

  on<Name extends keyof EngineEvents>(
    name: Name,
    listener: (...event: EngineEvents[Name]) => void,
  ): void {
    this.#parts.events.on(name, listener)
  }

  off<Name extends keyof EngineEvents>(
    name: Name,
    listener: (...event: EngineEvents[Name]) => void,
  ): void {
    this.#parts.events.off(name, listener)
  }

  info(): EngineInfo {
    const { host, probe, context, snapshotter, root, runRoot } = this.#parts
    return engineInfo({ host, probe, cgroups: context.cgroups, snapshotter, root, runRoot })
  }

  version(): { keelson: string; helper: string } {
    return { keelson: VERSION, helper: this.#parts.context.launcher.version }
  }

  async df(): Promise<DiskUsage> {
    this.#mustBeOpen()
    const { context, ...parts } = this.#parts
    return await diskUsage({ ...parts, helper: context.launcher })
  }

  async doctor(): Promise<Diagnosis[]> {
    const { host, probe, context } = this.#parts
    return diagnose(host, probe, context.cgroups, await appArmorParserInstalled())
  }

  async close(): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
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
