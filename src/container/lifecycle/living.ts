import { parseSignal, signalName } from '../../util/signals.ts'
import type { Duration } from '../../util/duration.ts'
import type { ContainerExit } from './monitor-state.ts'
import { waitFor, type WaitCondition } from './wait-condition.ts'
import { refuseUnknown } from '../normalize/call.ts'
import { parseStopTimeout } from '../normalize/create.ts'
import { aboutContainer } from './plan.ts'
import { removeContainer } from './remove.ts'
import { renameContainer } from './rename.ts'
import { startContainer } from './start.ts'
import { isActive } from './state.ts'
import { updateContainer, type UpdateOptions } from './update.ts'
import { waitUntilReady, type ReadyOptions } from '../wait/ready.ts'
import type { WaitStrategy } from '../wait/strategy.ts'
import { waitTarget } from '../wait/target.ts'
import { ContainerHandle } from '../handle.ts'

const SIGKILL = 9

/** Gives the waiting up, not what was asked for. */
export interface SignalOption {
  signal?: AbortSignal
}

export interface StopOptions extends SignalOption {
  /** How long to wait before it is killed; 0: it is killed at once, without its stop signal; -1: for ever. Default: the container's own, 10 s. */
  timeout?: Duration
}

export interface RemoveOptions {
  /** Kill it first when it runs. Default `false`: that is an error. */
  force?: boolean
  /** Remove volumes without a name that were made for it. Default `false`. */
  volumes?: boolean
}

/** A container as something that lives: it is started, ends, and is removed. */
export class LivingContainer extends ContainerHandle implements AsyncDisposable {
  /**
   * Starts its program, and returns when that has been executed. An abort kills it.
   *
   * @throws `KEELSON_CONTAINER_STATE`, `KEELSON_COMMAND_NOT_FOUND`, `KEELSON_COMMAND_NOT_EXECUTABLE`, `KEELSON_MOUNT_FAILED`,
   *   `KEELSON_CGROUP_UNAVAILABLE`, `KEELSON_START_FAILED`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await container.start()
   * ```
   */
  async start(options: SignalOption = {}): Promise<void> {
    await this.core.turn.run(async () => {
      await startContainer(this.core, { ...options, config: this.known })
    }, options.signal)
  }

  /**
   * Asks its program to end by the container's stop signal, and kills it when the time is over. No restart policy starts it again. Returns
   * when it has ended; at once when it does not run.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await container.stop({ timeout: '30s' })
   * ```
   */
  async stop(options: StopOptions = {}): Promise<void> {
    const timeout =
      options.timeout === undefined ? undefined : parseStopTimeout(options.timeout, 'timeout')
    if (!isActive(await this.core.mustBeThere())) return
    try {
      await this.core.ask('stop', 'stop', timeout === undefined ? {} : { timeout }, options.signal)
    } catch (error) {
      const ended = !isActive(await this.core.mustBeThere())
      if (ended && !options.signal?.aborted) return
      throw error
    }
    this.#tell('container.stop')
  }

  /**
   * Sends a signal to its program. `SIGKILL`, the default, ends every process of it, for good (no restart policy starts it again), and
   * returns when they have ended.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await container.kill('SIGHUP')
   * ```
   */
  async kill(signal: string | number = 'SIGKILL', options: SignalOption = {}): Promise<void> {
    const number = parseSignal(signal, 'signal')
    if (number === SIGKILL) await this.core.ask('kill', 'kill', { stop: true }, options.signal)
    else await this.core.ask('kill', 'signal', { signal: number }, options.signal)
    this.#tell('container.kill', { signal: signalName(number) })
  }

  /**
   * Stops it as {@link Container.stop} does, when it runs, and starts it. Returns when its program has been executed.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await container.restart({ timeout: '5s' })
   * ```
   */
  async restart(options: StopOptions = {}): Promise<void> {
    const timeout =
      options.timeout === undefined ? undefined : parseStopTimeout(options.timeout, 'timeout')
    await this.core.turn.run(async () => {
      const status = await this.core.mustAllow('restart')
      if (isActive(status)) {
        const args = timeout === undefined ? {} : { timeout }
        await this.core.ask('restart', 'restart', args, options.signal)
      } else {
        await startContainer(this.core, { signal: options.signal, config: this.known })
      }
    }, options.signal)
    this.#tell('container.restart')
  }

  /**
   * Freezes all of its processes.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await container.pause()
   * await container.unpause()
   * ```
   */
  async pause(options: SignalOption = {}): Promise<void> {
    await this.core.ask('pause', 'pause', {}, options.signal)
  }

  /** Lets them go on. */
  async unpause(options: SignalOption = {}): Promise<void> {
    await this.core.ask('unpause', 'resume', {}, options.signal)
  }

  /**
   * Gives it another name.
   *
   * @throws `KEELSON_NAME_IN_USE`, `KEELSON_INVALID_OPTION`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await container.rename('web-old')
   * ```
   */
  async rename(name: string): Promise<void> {
    await this.core.turn.run(() => renameContainer(this.core, name))
  }

  /**
   * Changes its limits and its restart policy, at once when it runs. What is not given stays.
   *
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_CGROUP_UNAVAILABLE`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await container.update({ memory: '512m', restart: 'on-failure:3' })
   * ```
   */
  async update(changes: UpdateOptions): Promise<void> {
    await this.core.turn.run(async () => {
      await updateContainer(this.core, changes)
      this.known = undefined
    })
    this.#tell('container.update')
  }

  /**
   * Waits, by default until it has no program. For one that was removed already there is only `removed` to wait for, and, where it removed
   * itself (`autoRemove`), the end that this engine saw.
   *
   * @returns how the program ended
   * @throws `KEELSON_ABORTED`, `KEELSON_CONTAINER_NOT_FOUND`; with `healthy` also `KEELSON_CONTAINER_STATE` when it ends before
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * const { exitCode, oomKilled } = await container.wait()
   * console.log(exitCode, oomKilled)
   * ```
   */
  async wait(
    options: { condition?: WaitCondition; signal?: AbortSignal } = {},
  ): Promise<ContainerExit> {
    return await waitFor(this.core, options.condition ?? 'not-running', options.signal)
  }

  /**
   * Waits until it is ready to be used, which is when `strategy` says so: see `wait`.
   *
   * @throws `KEELSON_WAIT_TIMEOUT` when it was not so in time, `KEELSON_WAIT_FAILED` when it cannot become so any more, as when it has ended;
   *   both say what there was to see: `logs` (the last lines), `listening` (its ports), `exit`, `health`. `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine, wait } from 'keelson'
   *
   * await using engine = await Engine.open()
   * await using database = await engine.containers.run({ image: 'docker.io/library/postgres:18' })
   * await database.ready(wait.port(5432), { timeout: '30s' })
   * ```
   */
  async ready(strategy: WaitStrategy, options: ReadyOptions = {}): Promise<void> {
    await this.core.mustBeThere()
    await waitUntilReady(waitTarget(this.core), strategy, options)
  }

  /**
   * Removes it with everything it wrote. Its name is free when this returns; removing it twice, or by two programs at once, is no error.
   *
   * What it has on the disk goes after that. Should that fail (`onWarning` hears why), the container is `dead`: listed, found by its id,
   * and good for nothing but to be removed again, which then returns when all of it is gone.
   *
   * @throws `KEELSON_CONTAINER_STATE` when it runs and `force` is not set; for a dead one `KEELSON_IO` and its like
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await container.remove({ force: true, volumes: true })
   * ```
   */
  async remove(options: RemoveOptions = {}): Promise<void> {
    refuseUnknown(options, ['force', 'volumes'], 'remove()')
    const { force = false, volumes = false } = options
    await this.core.turn.run(() => removeContainer(this.core, { force, volumes }))
  }

  /** Kills and removes it. For a gentle end call {@link Container.stop} before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove({ force: true, volumes: true })
  }

  #tell(type: string, more: object = {}): void {
    const { context, record } = this.core
    context.journal.append({
      time: new Date().toISOString(),
      type,
      container: record.id,
      ...aboutContainer(record),
      ...more,
    })
  }
}
