import { spawn, type ChildProcess } from 'node:child_process'
import { Socket } from 'node:net'
import { keelsonError, type KeelsonError } from '../errors.ts'
import { Connection, helperFailure, type CloseListener } from './connection.ts'
import { locateHelper } from './locate.ts'
import {
  PROTOCOL_VERSION,
  type Answer,
  type Arguments,
  type Helper,
  type HelperEvent,
  type ListeningHandle,
  type Operation,
  type Operations,
  type RequestOptions,
  type SocketMaker,
  type UserNamespacePlan,
} from './protocol.ts'

const STDERR_KEPT = 4096

/**
 * The running helper of one Engine, and the wire to it (`docs/helper-protocol.md`).
 *
 * Its end, or this process's, ends every container bound to it. While nothing is asked of it and nobody holds it, it does not keep the event loop alive.
 */
export class Launcher implements Helper, SocketMaker {
  readonly #child: ChildProcess
  readonly #connection: Connection<Operations, HelperEvent>
  readonly #watchers = new Map<string, (event: HelperEvent) => void>()
  readonly #exited: Promise<void>
  /** Who waits for a socket. */
  readonly #sockets = new Map<number, (handle: unknown) => void>()
  #lastSocket = 0
  #stderr = ''
  /** The launcher's process id, as this process sees it. */
  readonly pid: number
  /** The helper's own version. */
  version = ''

  private constructor(path: string) {
    this.#child = spawn(path, ['launch'], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'ipc'],
      cwd: '/',
      env: {},
      // A session of its own: Ctrl-C in a terminal is for the program, which ends the containers in its own order.
      detached: true,
    })
    this.pid = this.#child.pid ?? -1
    this.#connection = new Connection<Operations, HelperEvent>(this.#child.stdio[3] as Socket, {
      onEvent: (event) => this.#watchers.get(event.container)?.(event),
      gone: (cause) => this.#gone(cause),
    })
    this.#exited = new Promise((resolve) => {
      this.#child.once('close', () => resolve())
      this.#child.once('error', (cause) => {
        this.#connection.fail(
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
    this.#child.on('message', (message, handle) => this.#receive(message, handle))
    ;(this.#child.stderr as Socket | null)?.unref()
    this.#child.channel?.unref()
    this.#child.unref()
  }

  /** Calls `listener` when the helper ends, whoever ended it, or soon when it has; not any more after the returned function. */
  onClose(listener: CloseListener): () => void {
    return this.#connection.onClose(listener)
  }

  /** What `promise` gives, or rejects when the helper ends before. */
  async unlessClosed<T>(promise: Promise<T>): Promise<T> {
    return await this.#connection.unlessClosed(promise)
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
    return await this.#connection.request(op, args, options)
  }

  async connect(
    args: Omit<Arguments<'net.connect'>, 'socket'>,
    options: RequestOptions = {},
  ): Promise<Socket> {
    const ask = (socket: number) => this.request('net.connect', { ...args, socket }, options)
    return (await this.#takeSocket(ask)) as Socket
  }

  async listen(
    args: Omit<Arguments<'network.listen'>, 'socket'>,
    options: RequestOptions = {},
  ): Promise<ListeningHandle> {
    const ask = (socket: number) => this.request('network.listen', { ...args, socket }, options)
    return (await this.#takeSocket(ask)) as ListeningHandle
  }

  /** Tells the helper something that has no answer. */
  notify(op: 'cancel' | 'release', args: object): void {
    this.#connection.notify(op, args)
  }

  /** Hears the events of one container until the returned function is called; holds the event loop meanwhile. */
  watch(container: string, listener: (event: HelperEvent) => void): () => void {
    this.#watchers.set(container, listener)
    this.#connection.ref()
    return () => {
      if (this.#watchers.delete(container)) this.#connection.unref()
    }
  }

  /** Ends the helper: containers bound to it are killed and removed first. Resolves when it is gone. */
  async close(): Promise<void> {
    this.#child.ref()
    this.#connection.close(keelsonError('KEELSON_CLOSED', 'The engine is closed.'))
    await this.#exited
    this.#connection.destroy()
  }

  async #takeSocket(ask: (socket: number) => Promise<unknown>): Promise<unknown> {
    const number = ++this.#lastSocket
    const came = new Promise((resolve) => this.#sockets.set(number, resolve))
    this.#connection.ref()
    try {
      await ask(number)
      return await this.unlessClosed(came)
    } finally {
      this.#connection.unref()
      this.#sockets.delete(number)
    }
  }

  #receive(message: unknown, handle: unknown): void {
    const take = this.#sockets.get((message as { socket: number }).socket)
    if (take !== undefined) take(handle)
    // Nobody wants it any more.
    else if (handle instanceof Socket) handle.destroy()
    else (handle as ListeningHandle | undefined)?.close()
  }

  #gone(cause: Error | undefined): KeelsonError {
    return keelsonError('KEELSON_HELPER_FAILED', 'The helper process ended unexpectedly.', {
      cause,
      hint: 'Open the engine again; it repairs what was left behind.',
      ...(this.#stderr === '' ? {} : { stderr: this.#stderr }),
    })
  }
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
