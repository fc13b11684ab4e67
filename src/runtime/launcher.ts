import { spawn, type ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { keelsonError, type KeelsonError } from '../errors.ts'
import { encodeFrame, FrameDecoder } from './frames.ts'
import { locateHelper } from './locate.ts'
import {
  PROTOCOL_VERSION,
  type Answer,
  type Arguments,
  type Helper,
  type HelperEvent,
  type HelperFailure,
  type Operation,
  type Operations,
  type RequestOptions,
  type UserNamespacePlan,
} from './protocol.ts'

/** A request on the wire, waiting for its answer. */
interface Pending {
  op: Operation
  resolve(value: unknown): void
  reject(error: KeelsonError): void
  onProgress: RequestOptions['onProgress']
}

/** `errno` is a number on the wire. */
type WireFailure = Omit<HelperFailure, 'errno'> & { errno?: number }

interface WireMessage {
  id?: number
  ok?: unknown
  error?: WireFailure
  progress?: { read?: number }
  event?: string
}

const STDERR_KEPT = 4096

/**
 * The running helper of one Engine, and the wire to it (`docs/helper-protocol.md`).
 *
 * Its end, or this process's, ends every container bound to it. While nothing is asked of it and nobody holds it, it does not keep the event loop alive.
 */
export class Launcher implements Helper {
  readonly #child: ChildProcess
  readonly #socket: Socket
  readonly #pending = new Map<number, Pending>()
  readonly #watchers = new Map<string, (event: HelperEvent) => void>()
  readonly #exited: Promise<void>
  #nextId = 1
  #holds = 0
  #stderr = ''
  #broken: KeelsonError | undefined
  #end: (error: KeelsonError) => void = () => {}
  /** Rejects when the helper ends, whoever ended it. */
  readonly ended: Promise<never>
  /** The launcher's process id, as this process sees it. */
  readonly pid: number
  /** The helper's own version. */
  version = ''

  private constructor(path: string) {
    this.#child = spawn(path, ['launch'], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      cwd: '/',
      env: {},
      // A session of its own: Ctrl-C in a terminal is for the program, which ends the containers in its own order.
      detached: true,
    })
    this.pid = this.#child.pid ?? -1
    this.#socket = this.#child.stdio[3] as Socket
    this.ended = new Promise((_, reject) => (this.#end = reject))
    this.ended.catch(() => {})
    this.#exited = new Promise((resolve) => {
      this.#child.once('close', () => resolve())
      this.#child.once('error', (cause) => {
        this.#fail(
          keelsonError('KEELSON_HELPER_FAILED', `The helper ${path} cannot be started.`, {
            cause,
            hint: 'Check that the file system it lies on is not mounted noexec and that it is built for this processor.',
          }),
        )
        resolve()
      })
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT)
    })
    ;(this.#child.stderr as Socket | null)?.unref()
    this.#child.unref()
    this.#read()
  }

  /**
   * Starts the helper and shakes hands.
   *
   * @throws `KEELSON_HELPER_NOT_FOUND`, `KEELSON_HELPER_VERSION`, `KEELSON_HELPER_FAILED`
   */
  static async start(
    options: { helper?: string | undefined; user?: UserNamespacePlan | undefined } = {},
  ): Promise<Launcher> {
    const path = options.helper ?? locateHelper()
    const launcher = new Launcher(path)
    try {
      const hello: Arguments<'hello'> = { protocol: PROTOCOL_VERSION }
      if (options.user !== undefined) hello.user = options.user
      launcher.version = (await launcher.request('hello', hello)).version
      return launcher
    } catch (error) {
      await launcher.close()
      throw versionError(error, path)
    }
  }

  async request<Op extends Operation>(
    op: Op,
    args: Arguments<Op>,
    options: RequestOptions = {},
  ): Promise<Answer<Op>> {
    const { signal, onProgress } = options
    if (this.#broken !== undefined) throw this.#broken
    if (signal?.aborted) throw aborted(op, signal)
    const id = this.#nextId++
    const frame = encodeFrame({ id, op, ...args })
    const cancel = () => this.notify('cancel', { request: id })
    try {
      return await new Promise<Operations[Op][1]>((resolve, reject) => {
        this.#pending.set(id, { op, resolve, reject, onProgress })
        this.#ref()
        signal?.addEventListener('abort', cancel, { once: true })
        this.#socket.write(frame)
      })
    } catch (error) {
      throw helperFailure(error)?.kind === 'cancelled' ? aborted(op, signal, error) : error
    } finally {
      signal?.removeEventListener('abort', cancel)
      this.#unref()
    }
  }

  /** Tells the helper something that has no answer. */
  notify(op: 'cancel' | 'release', args: object): void {
    if (this.#broken === undefined) this.#socket.write(encodeFrame({ op, ...args }))
  }

  /** Hears the events of one container until the returned function is called; holds the event loop meanwhile. */
  watch(container: string, listener: (event: HelperEvent) => void): () => void {
    this.#watchers.set(container, listener)
    this.#ref()
    return () => {
      if (this.#watchers.delete(container)) this.#unref()
    }
  }

  /** Ends the helper: containers bound to it are killed and removed first. Resolves when it is gone. */
  async close(): Promise<void> {
    this.#broken ??= keelsonError('KEELSON_CLOSED', 'The engine is closed.')
    this.#child.ref()
    this.#socket.end()
    await this.#exited
    this.#socket.destroy()
  }

  #read(): void {
    const decoder = new FrameDecoder()
    this.#socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of decoder.push(chunk)) this.#dispatch(message as WireMessage)
      } catch (error) {
        this.#socket.destroy(error as Error)
      }
    })
    this.#socket.on('error', (cause) => this.#gone(cause))
    this.#socket.on('close', () => this.#gone())
    this.#socket.unref()
  }

  #dispatch(message: WireMessage): void {
    if (message.event !== undefined) {
      const event = message as unknown as HelperEvent
      this.#watchers.get(event.container)?.(event)
      return
    }
    const id = message.id ?? -1
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    if (message.progress !== undefined) return pending.onProgress?.(message.progress)
    this.#pending.delete(id)
    if (message.error === undefined) pending.resolve(message.ok)
    else pending.reject(helperError(pending.op, nameErrno(message.error)))
  }

  #gone(cause?: Error): void {
    this.#fail(
      keelsonError('KEELSON_HELPER_FAILED', 'The helper process ended unexpectedly.', {
        cause,
        hint: 'Open the engine again; it repairs what was left behind.',
        ...(this.#stderr === '' ? {} : { stderr: this.#stderr }),
      }),
    )
  }

  #fail(error: KeelsonError): void {
    this.#broken ??= error
    for (const pending of this.#pending.values()) pending.reject(this.#broken)
    this.#pending.clear()
    this.#end(this.#broken)
  }

  #ref(): void {
    if (this.#holds++ === 0) this.#socket.ref()
  }

  #unref(): void {
    if (--this.#holds === 0) this.#socket.unref()
  }
}

/** The {@link HelperFailure} inside an error of a request, if it is one. */
export function helperFailure(error: unknown): HelperFailure | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  return (error as { failure?: HelperFailure }).failure
}

function helperError(op: Operation, failure: HelperFailure): KeelsonError {
  const what = [failure.step, failure.path, failure.errno, failure.detail]
    .filter(Boolean)
    .join(': ')
  return keelsonError('KEELSON_HELPER_FAILED', `The helper could not carry out ${op}: ${what}.`, {
    failure,
  })
}

function nameErrno(failure: WireFailure): HelperFailure {
  const { errno, ...facts } = failure
  return errno === undefined ? facts : { ...facts, errno: getSystemErrorName(-errno) }
}

function aborted(op: Operation, signal?: AbortSignal, cause?: unknown): KeelsonError {
  return keelsonError('KEELSON_ABORTED', `The operation ${op} was aborted.`, {
    cause: cause ?? signal?.reason,
    reason: signal?.reason as unknown,
  })
}

function versionError(error: unknown, path: string): unknown {
  const failure = helperFailure(error)
  if (failure?.kind !== 'protocol') return error
  return keelsonError(
    'KEELSON_HELPER_VERSION',
    `The helper ${path} speaks protocol ${failure.detail ?? 'unknown'}, this package speaks ${PROTOCOL_VERSION}.`,
    { hint: 'Install keelson and its helper package in the same version.', path },
  )
}
