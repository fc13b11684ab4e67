import { PassThrough, type Readable, type Writable } from 'node:stream'
import type { MonitorClient } from '../../runtime/monitor.ts'
import type { TerminalSize } from '../../runtime/monitor-protocol.ts'
import { errnoOf } from '../../store/errno.ts'
import { throwIfAborted } from '../../util/abort.ts'
import { parseSignal } from '../../util/signals.ts'
import { checkedSize } from '../attach/attach.ts'
import type { ContainerExit } from '../lifecycle/monitor-state.ts'
import { abortSignal, refuseUnknown } from '../normalize/call.ts'
import { flag } from '../normalize/values.ts'
import { Output } from '../run/output.ts'
import type { ExecTarget } from './exec.ts'
import { PROCESS_OPTIONS, type SpawnOptions } from './options.ts'
import { killExec, startExec, type StartedExec } from './start.ts'

/**
 * A program that runs in a container, like a `ChildProcess`.
 *
 * @example
 * ```ts
 * import { Engine } from 'keelson'
 *
 * await using engine = await Engine.open()
 * const container = await engine.containers.get('database')
 * await using shell = await container.spawn(['sh'], { tty: { columns: 80, rows: 24 } })
 * process.stdin.pipe(shell.stdin)
 * shell.stdout.pipe(process.stdout)
 * process.stdout.on('resize', () => shell.resize(process.stdout))
 * const { exitCode } = await shell.wait()
 * ```
 */
export class ExecProcess implements AsyncDisposable {
  /** What the program reads; `end()` lets it read end of file (with a terminal, type `\x04`). Takes nothing with `stdin: false`. */
  readonly stdin: Writable
  /** What the program writes; with a terminal, all of it. It must be read, or the program waits. */
  readonly stdout: Readable
  /** With a terminal, empty. */
  readonly stderr: Readable
  /** On the host. */
  readonly pid: number
  readonly #monitor: MonitorClient
  readonly #id: string
  readonly #closed: Promise<ContainerExit>

  /** @internal */
  constructor(monitor: MonitorClient, started: StartedExec, signal: AbortSignal | undefined) {
    this.#monitor = monitor
    this.#id = started.id
    this.pid = started.pid
    this.stdin = started.stdin ?? closedInput()
    const [stdout, stdoutDrained] = readable(started.stdout)
    const [stderr, stderrDrained] = readable(started.stderr)
    this.stdout = stdout
    this.stderr = stderr
    // A program that stops reading is no failure.
    this.stdin.on('error', () => {})
    const abort = () => void killExec(monitor, started.id)
    signal?.addEventListener('abort', abort, { once: true })
    this.#closed = started.exited.finally(() => {
      signal?.removeEventListener('abort', abort)
      if (started.stderr !== undefined) started.stdin?.destroy()
    })
    this.#closed.catch(() => {})
    void Promise.all([stdoutDrained, stderrDrained])
  }

  /** Executes a program and resolves when it runs. */
  static async start(
    target: ExecTarget,
    command: string | readonly string[],
    options: SpawnOptions = {},
  ): Promise<ExecProcess> {
    refuseUnknown(options, SPAWN_OPTIONS, 'spawn()')
    const { signal, stdin = true, tty = false, ...process } = options
    abortSignal(signal)
    flag('stdin', stdin, true)
    if (typeof tty === 'object') checkedSize({ columns: tty.columns, rows: tty.rows })
    else flag('tty', tty, false)
    throwIfAborted(signal, 'the execution')
    const monitor = await target.monitor()
    const words = typeof command === 'string' ? [command] : command
    const plan = await target.plan(words, { ...process, tty })
    let abort: (() => void) | undefined
    try {
      const started = await startExec(monitor, plan, stdin ? 'pipe' : 'null', (id) => {
        abort = () => void killExec(monitor, id)
        if (signal?.aborted) abort()
        else signal?.addEventListener('abort', abort, { once: true })
      })
      for (const warning of started.warnings) target.warn('exec-start', warning)
      return new ExecProcess(monitor, started, signal)
    } catch (error) {
      throwIfAborted(signal, 'the execution')
      throw error
    } finally {
      if (abort !== undefined) signal?.removeEventListener('abort', abort)
    }
  }

  /**
   * Resolves when the program has ended, also with a failure; its streams may still hold what it wrote.
   *
   * @throws `KEELSON_HELPER_FAILED` when the container's monitor is gone
   */
  async wait(): Promise<ContainerExit> {
    return await this.#closed
  }

  /**
   * Sends a signal to the program; `SIGKILL` reaches everything that it has started. One that has ended gets none.
   *
   * @throws `KEELSON_INVALID_OPTION`
   */
  async kill(signal: string | number = 'SIGTERM'): Promise<void> {
    const number = parseSignal(signal, 'signal')
    if (number === SIGKILL) return await killExec(this.#monitor, this.#id)
    await this.#monitor.request('exec-signal', { exec: this.#id, signal: number }).catch(() => {})
  }

  /** Tells the terminal its size in characters; the program gets SIGWINCH. Without a terminal nothing happens. */
  async resize({ columns, rows }: TerminalSize): Promise<void> {
    const size = checkedSize({ columns, rows })
    await this.#monitor.request('resize', { exec: this.#id, ...size }).catch(() => {})
  }

  /** Kills it and everything that it has started, and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    await killExec(this.#monitor, this.#id)
    await this.#closed.catch(() => {})
    this.stdin.destroy()
    this.stdout.destroy()
    this.stderr.destroy()
  }
}

const SIGKILL = 9
const SPAWN_OPTIONS = [...PROCESS_OPTIONS, 'tty', 'stdin', 'signal']

function closedInput(): Writable {
  const none = new PassThrough()
  none.end()
  none.resume()
  return none
}

/** A stream of what is read, and when that has come to its end. */
function readable(source: AsyncIterable<Buffer> | undefined): [Readable, Promise<void>] {
  const output = new Output({ collect: false, limit: 0 })
  const stream = output.stream
  if (source === undefined) {
    output.end()
    return [stream, Promise.resolve()]
  }
  const drained = output
    .drain(source, () => {})
    .catch((error: unknown) => {
      // What could not be written to a terminal is the writer's to hear.
      if (errnoOf(error) !== 'EPIPE') stream.destroy(error as Error)
    })
  return [stream, drained]
}
