import { existsSync, watch as watchFiles } from 'node:fs'
import { join } from 'node:path'
import { keelsonError, type KeelsonError } from '../errors.ts'
import { helperFailure } from '../runtime/connection.ts'
import { MonitorClient } from '../runtime/monitor.ts'
import type {
  ContainerStatus,
  MonitorOperations,
  MonitorState,
} from '../runtime/monitor-protocol.ts'
import { throwIfAborted, abortedError } from '../util/abort.ts'
import { deferred } from '../util/deferred.ts'
import { Semaphore } from '../util/semaphore.ts'
import type { ContainersContext } from './containers-context.ts'
import { repairCrash } from './lifecycle/crash.ts'
import { readState } from './lifecycle/monitor-state.ts'
import type { LogSink } from './logs/sink.ts'
import { loadRecord, saveRecord, type ContainerRecord } from './record/record.ts'
import { MONITOR_SOCKET } from './record/places.ts'
import { isActive, mustAllow, type ContainerAction } from './lifecycle/state.ts'

type AskedOperation = 'stop' | 'kill' | 'signal' | 'restart' | 'pause' | 'resume'

/** How often a monitor's lock is tried for, when somebody looks at it in the same moment. */
const ATTEMPTS = 100
const PAUSE_MS = 5

/**
 * A container as this engine knows it: its record, its last state, and the connection to its monitor, while it has one. What is done with
 * containers (start, exec, logs, ...) is done on top of this.
 */
export class ContainerCore {
  readonly context: ContainersContext
  readonly id: string
  /** One change at a time, of this process; others are kept out by the monitor's lock. */
  readonly turn = new Semaphore(1)
  /** Takes its output, where it was created with one. */
  sink: LogSink | undefined
  /** Resolves when the sink has had all that was written until the end. */
  sunk: Promise<unknown> | undefined
  #record: ContainerRecord
  #client: MonitorClient | undefined
  #connecting: Promise<MonitorClient | undefined> | undefined
  #state: MonitorState | undefined
  /** The connection to a monitor that was not asked to start yet. */
  #waiting: MonitorClient | undefined
  #shut = false
  #removed = false
  readonly #listeners = new Set<() => void>()
  readonly #onRemoved: () => void

  /** @param onRemoved called once, when the container is no more */
  constructor(context: ContainersContext, record: ContainerRecord, onRemoved: () => void) {
    this.context = context
    this.id = record.id
    this.#record = record
    this.#onRemoved = onRemoved
  }

  /** As it was last read or written by this process. */
  get record(): ContainerRecord {
    return this.#record
  }

  set record(record: ContainerRecord) {
    this.#record = record
  }

  /** Reads the record again: another process may have renamed or updated the container. */
  async refresh(): Promise<ContainerRecord> {
    const record = await loadRecord(this.context.places.record(this.id))
    if (record !== undefined) this.#record = record
    return this.#record
  }

  /** Writes a changed record. @throws `KEELSON_CONTAINER_NOT_FOUND` when another process has removed the container meanwhile */
  async save(record: ContainerRecord): Promise<void> {
    try {
      await saveRecord(this.context.places.record(this.id), record)
    } catch (error) {
      const there = await loadRecord(this.context.places.record(this.id))
      throw there === undefined ? this.gone() : error
    }
    this.#record = record
  }

  /** What its monitor last said; `undefined`: it was never started. */
  async state(): Promise<MonitorState | undefined> {
    if (this.#shut) throw closedError()
    if (this.#removed) return this.#state
    if (this.#client !== undefined && this.#state !== undefined) return this.#state
    const found = await readState(this.context.places.state(this.id))
    if (found === undefined || !isActive(found.status)) return (this.#state = found)
    if ((await this.connect()) !== undefined) return this.#state ?? found
    return (this.#state = await this.#afterCrash())
  }

  async status(): Promise<ContainerStatus> {
    if (this.#shut) throw closedError()
    const { places } = this.context
    if (this.#removed) return existsSync(places.dead(this.id)) ? 'dead' : 'removing'
    const state = await this.state()
    if (state !== undefined) return state.status
    if ((await loadRecord(places.record(this.id))) !== undefined) return 'created'
    if (existsSync(places.dead(this.id))) return 'dead'
    this.removed()
    return 'removing'
  }

  /** @throws `KEELSON_CONTAINER_STATE`, `KEELSON_CONTAINER_NOT_FOUND` when it was removed */
  async mustAllow(action: ContainerAction): Promise<ContainerStatus> {
    const status = await this.status()
    if (status === 'removing') throw this.gone()
    mustAllow(this.#record, status, action)
    return status
  }

  /** @throws `KEELSON_CONTAINER_NOT_FOUND` when it was removed, `KEELSON_CONTAINER_STATE` when that has failed half way */
  async mustBeThere(): Promise<ContainerStatus> {
    const status = await this.status()
    const { options, owner } = this.#record
    // Its program was killed, and it is about to be removed.
    const abandoned = !options.detached && !existsSync(owner.directory)
    if (status === 'removing' || abandoned) throw this.gone()
    if (status === 'dead') mustAllow(this.#record, status, 'use')
    return status
  }

  gone(): KeelsonError {
    const { id, name } = this.#record
    return keelsonError('KEELSON_CONTAINER_NOT_FOUND', `The container ${name} was removed.`, {
      container: id,
      containerName: name,
      hint: 'engine.containers.list({ all: true }) shows those that are there.',
    })
  }

  /**
   * The connection to the container's monitor, for what only a container with processes can do.
   *
   * @throws `KEELSON_CONTAINER_STATE` naming `action`
   */
  async monitor(action: ContainerAction): Promise<MonitorClient> {
    const status = await this.mustAllow(action)
    const client = await this.connect()
    if (client !== undefined) return client
    mustAllow(this.#record, isActive(status) ? await this.status() : status, action)
    throw keelsonError(
      'KEELSON_CONTAINER_STATE',
      `Cannot ${action} the container ${this.#record.name}: it does not run.`,
      { container: this.id, containerStatus: status, action, hint: 'Start it first.' },
    )
  }

  /** Asks its monitor for one thing, which `action` is to the caller. */
  async ask<Op extends AskedOperation>(
    action: ContainerAction,
    op: Op,
    args: MonitorOperations[Op][0],
    signal?: AbortSignal,
  ): Promise<void> {
    const client = await this.monitor(action)
    try {
      await client.request(op, args, { signal })
    } catch (error) {
      // It has ended in the same moment: that is how it is now.
      const ended = client.isOver || helperFailure(error)?.kind === 'not-running'
      if (ended && !this.#shut) await this.mustAllow(action)
      throw error
    }
  }

  /**
   * A monitor to attach to or to start the program with: the one that is there, or a new one, which ends with its last connection
   * unless it is asked to start.
   */
  async launch(): Promise<MonitorClient> {
    const { launcher } = this.context.run
    for (let attempt = 1; ; attempt++) {
      const present = this.#client ?? (attempt === 1 ? undefined : await this.connect())
      const ready = present === this.#waiting || this.#state?.status !== 'exited'
      if (present !== undefined && ready) return present
      // Of a container that has ended: it goes as soon as it has told all.
      if (present !== undefined) await new Promise<unknown>((resolve) => present.onClose(resolve))
      try {
        await launcher.request('monitor', {
          container: this.id,
          directory: this.#record.run,
          bound: !this.#record.options.detached,
        })
        const client = await this.connect()
        if (client !== undefined) return client
      } catch (error) {
        // A monitor of another process, or somebody who looks whether there is one.
        if (helperFailure(error)?.kind !== 'busy') throw error
      }
      if (attempt === ATTEMPTS) {
        throw keelsonError(
          'KEELSON_HELPER_FAILED',
          `The monitor of ${this.#record.name} does not answer.`,
          { container: this.id, hint: 'Open the engine again; it repairs what was left behind.' },
        )
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }

  /** Connects to its monitor and follows its state; `undefined` when nobody listens. */
  async connect(): Promise<MonitorClient | undefined> {
    if (this.#client !== undefined) return this.#client
    this.#connecting ??= this.#tryConnect().finally(() => (this.#connecting = undefined))
    return await this.#connecting
  }

  /**
   * Waits until `look` finds what it looks for: it is called with the present state and after every change; with `undefined` for a
   * container that was never started, and `removed` set when it is no more.
   */
  async until<T>(
    look: (state: MonitorState | undefined, removed: boolean) => T | undefined,
    options: { signal?: AbortSignal | undefined; what: string },
  ): Promise<T> {
    const { signal, what } = options
    throwIfAborted(signal, what)
    const found = deferred<T>()
    found.promise.catch(() => {})
    let looking = false
    let again = false
    const check = async () => {
      // One look at a time: an older answer must not come after a newer one.
      if (looking) {
        again = true
        return
      }
      looking = true
      try {
        do {
          again = false
          const status = await this.status()
          const value = look(this.#state, status === 'removing')
          if (value !== undefined) found.resolve(value)
        } while (again)
      } catch (error) {
        found.reject(error)
      } finally {
        looking = false
      }
    }
    const changed = () => void check()
    const abort = () => found.reject(signal && abortedError(signal, what))
    this.#listeners.add(changed)
    signal?.addEventListener('abort', abort, { once: true })
    // Whoever starts or removes it may be another process; its directory tells. This also holds the event loop.
    const watcher = this.#watchDirectory(changed)
    try {
      changed()
      return await found.promise
    } finally {
      watcher?.close()
      this.#listeners.delete(changed)
      signal?.removeEventListener('abort', abort)
    }
  }

  /** It is no more: whoever waits for anything hears of it. */
  removed(): void {
    if (this.#removed) return
    this.#removed = true
    this.#client?.close()
    this.#client = undefined
    this.#onRemoved()
    this.#tell()
  }

  /** Ends this engine's connection, and with a bound container nothing else. */
  close(): void {
    this.#client?.close()
    this.#client = undefined
  }

  /** Ends a monitor that was not asked to start and is only kept by those who are attached. */
  async dismiss(): Promise<void> {
    const client = await this.connect()
    if (client === undefined || client !== this.#waiting) return
    await client.request('kill', { stop: true }).catch(() => {})
  }

  /** The engine is closed: whoever waits for anything hears of it, and nothing more is done. */
  shut(): void {
    this.#shut = true
    this.close()
    this.#tell()
  }

  async #tryConnect(): Promise<MonitorClient | undefined> {
    let client: MonitorClient
    try {
      client = await MonitorClient.connect(join(this.#record.run, MONITOR_SOCKET))
    } catch {
      return undefined
    }
    client.onClose(() => this.#disconnected(client))
    client.onEnd((removed) => {
      if (removed) this.removed()
      // What is left of it serves those attached who read slowly; the next one may come.
      client.close()
    })
    this.#client = client
    try {
      await client.watch((state) => this.#hear(client, state), { hold: false })
      return client
    } catch {
      this.#disconnected(client)
      return undefined
    }
  }

  #hear(client: MonitorClient, state: MonitorState): void {
    // A monitor that has not been asked to start knows nothing of earlier runs.
    this.#waiting = state.status === 'created' ? client : undefined
    if (state.status === 'created') return
    this.#state = state
    this.#tell()
  }

  #disconnected(client: MonitorClient): void {
    if (this.#client !== client) return
    this.#client = undefined
    this.#waiting = undefined
    this.#state = undefined
    this.#tell()
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }

  #watchDirectory(changed: () => void) {
    try {
      const watcher = watchFiles(this.context.places.directory(this.id), changed)
      watcher.on('error', changed)
      return watcher
    } catch {
      return undefined
    }
  }

  /** The state says that it runs, and nobody listens: its monitor has just ended, has not begun to listen, or was killed. */
  async #afterCrash(): Promise<MonitorState | undefined> {
    const { places } = this.context
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const state = await repairCrash(this.context, this.#record)
      if (state !== 'busy') return state
      if ((await this.connect()) !== undefined) return this.#state
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
    return await readState(places.state(this.id))
  }
}

/** What everything of a closed engine is refused with. */
export function closedError(): KeelsonError {
  return keelsonError('KEELSON_CLOSED', 'The engine is closed.', { hint: 'Open another.' })
}
