import { closeSync, constants, openSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { keelsonError, KeelsonError } from '../errors.ts'
import { throwIfAborted, unlessAborted } from '../util/abort.ts'
import { Connection, helperError, type CloseListener } from './connection.ts'
import { encodeFrame, FrameDecoder } from './frames.ts'
import type {
  MonitorEvent,
  MonitorOperation,
  MonitorOperations,
  MonitorState,
} from './monitor-protocol.ts'

/** Room for a path in `struct sockaddr_un`, without its NUL. */
const MAX_SOCKET_PATH = 107

/** What is told of one exec. */
export type ExecEvent = Extract<MonitorEvent, { event: 'stdio' | 'exec-exit' }>
type AttachAnswer = { error?: Parameters<typeof helperError>[1] }
type StateEvent = Extract<MonitorEvent, { event: 'state' }>

/**
 * A connection to the monitor of one container (`docs/helper-protocol.md`, _The monitor_). Any number may exist, in any number of programs.
 * While nothing is asked of it and nobody holds it, it does not keep the event loop alive.
 *
 * Requests reject with `KEELSON_HELPER_FAILED`: with a `failure` field when the monitor refused, without one when it is gone.
 */
export class MonitorClient {
  readonly #path: string
  readonly #connection: Connection<MonitorOperations, MonitorEvent>
  readonly #execs = new Map<string, (event: ExecEvent) => void>()
  readonly #states = new Set<(state: MonitorState) => void>()
  readonly #ends = new Set<(removed: boolean) => void>()
  #watching: Promise<MonitorState> | undefined
  /** The last that was heard; see {@link MonitorClient.watch}. */
  #state: MonitorState | undefined

  private constructor(path: string, socket: Socket) {
    this.#path = path
    this.#connection = new Connection<MonitorOperations, MonitorEvent>(socket, {
      onEvent: (event) => this.#hear(event),
      gone: (cause) => monitorGone(path, cause),
    })
  }

  /**
   * Connects to the monitor that listens at `path`.
   *
   * @throws `KEELSON_HELPER_FAILED` when none does, `KEELSON_ABORTED`
   */
  static async connect(
    path: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<MonitorClient> {
    return new MonitorClient(path, await connectSocket(path, options.signal))
  }

  /** Whether requests can only fail, as nobody is there to answer them. */
  get isOver(): boolean {
    return this.#connection.isOver
  }

  /**
   * Calls `listener` when the connection ends, whoever ended it, or soon when it has; not any more after the returned function. A
   * monitor ends after its container, and when all has been told.
   */
  onClose(listener: CloseListener): () => void {
    return this.#connection.onClose(listener)
  }

  /** An abort ends the waiting, not what was asked for. */
  async request<Op extends Exclude<MonitorOperation, 'attach' | 'watch'>>(
    op: Op,
    args: MonitorOperations[Op][0],
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<MonitorOperations[Op][1]> {
    const request = this.#connection.request(op, args)
    return await unlessAborted(request, options.signal, `the operation ${op}`)
  }

  /**
   * Calls `listener` with the present state, then with every later one, until the returned function is called.
   * Holds the event loop meanwhile, unless `hold` is false.
   */
  async watch(
    listener: (state: MonitorState) => void,
    options: { hold?: boolean } = {},
  ): Promise<() => void> {
    const hold = options.hold ?? true
    // One of its own, so that the same listener may watch twice.
    const tell = (state: MonitorState) => listener(state)
    this.#watching ??= this.#connection.request('watch', {})
    const first = await this.#watching
    // Events that came meanwhile are newer than the answer.
    const present = this.#state ?? first
    this.#state = present
    if (hold) this.#connection.ref()
    this.#states.add(tell)
    tell(present)
    return () => {
      if (this.#states.delete(tell) && hold) this.#connection.unref()
    }
  }

  /** Hears when the container has ended for good, and whether it is removed with that. Does not hold the event loop. */
  onEnd(listener: (removed: boolean) => void): () => void {
    this.#ends.add(listener)
    return () => this.#ends.delete(listener)
  }

  /** Hears the events of one exec until the returned function is called; holds the event loop meanwhile. */
  watchExec(exec: string, listener: (event: ExecEvent) => void): () => void {
    this.#execs.set(exec, listener)
    this.#connection.ref()
    return () => {
      if (this.#execs.delete(exec)) this.#connection.unref()
    }
  }

  /** The pipes that the event `stdio` of an exec named have been opened, or will not be. */
  release(exec: string): void {
    this.#connection.notify('release', { exec })
  }

  /**
   * A connection of its own for one raw stream: what is written reaches the program's stdin and `end()` closes that; what the program
   * writes is read, with back-pressure all the way.
   */
  async attach(
    args: MonitorOperations['attach'][0],
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<Socket> {
    const socket = await connectSocket(this.#path, options.signal)
    try {
      const answered = firstMessage(socket)
      socket.write(encodeFrame({ id: 1, op: 'attach', ...args }))
      const { error } = await unlessAborted(answered, options.signal, 'attaching')
      if (error !== undefined) throw helperError('attach', error)
      return socket
    } catch (error) {
      socket.destroy()
      throw KeelsonError.is(error) ? error : monitorGone(this.#path, error)
    }
  }

  /** Ends this connection; the container goes on, but for what was `bound` to it. */
  close(): void {
    this.#connection.close(
      keelsonError('KEELSON_CLOSED', "The connection to the container's monitor is closed."),
    )
    this.#connection.destroy()
  }

  #hear(event: MonitorEvent): void {
    switch (event.event) {
      case 'state':
        return this.#hearState(event)
      case 'ended':
      case 'removed':
        return this.#hearEnd(event.event === 'removed')
      case 'stdio':
      case 'exec-exit':
        return this.#execs.get(event.container)?.(event)
    }
  }

  #hearState({ state }: StateEvent): void {
    this.#state = state
    for (const tell of this.#states) tell(state)
  }

  #hearEnd(removed: boolean): void {
    for (const tell of this.#ends) tell(removed)
  }
}

/** Resolves when it is connected. */
async function connectSocket(path: string, signal: AbortSignal | undefined): Promise<Socket> {
  throwIfAborted(signal, 'connecting to the monitor')
  // A longer one is reached through a descriptor of its directory.
  const directory =
    Buffer.byteLength(path) > MAX_SOCKET_PATH ? openDirectory(dirname(path), path) : undefined
  const short = directory === undefined ? path : `/proc/self/fd/${directory}/${basename(path)}`
  const socket = connect({ path: short, allowHalfOpen: true })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', (cause) => reject(monitorGone(path, cause)))
    })
    socket.removeAllListeners('error')
    return socket
  } finally {
    if (directory !== undefined) closeSync(directory)
  }
}

function openDirectory(directory: string, path: string): number {
  try {
    return openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  } catch (cause) {
    throw monitorGone(path, cause)
  }
}

/** Reads one frame and leaves the rest in the socket, which is paused then. */
async function firstMessage(socket: Socket): Promise<AttachAnswer> {
  const decoder = new FrameDecoder()
  return await new Promise((resolve, reject) => {
    const done = (settle: () => void) => {
      socket.off('data', read).off('error', fail).off('end', end)
      socket.pause()
      settle()
    }
    const fail = (cause: Error) => done(() => reject(cause))
    const end = () => fail(new Error('The connection was closed.'))
    const read = (chunk: Buffer) => {
      try {
        const [message] = decoder.push(chunk, 1)
        if (message === undefined) return
        done(() => {
          if (decoder.rest.length > 0) socket.unshift(decoder.rest)
          resolve(message as AttachAnswer)
        })
      } catch (error) {
        fail(error as Error)
      }
    }
    socket.on('data', read).on('error', fail).on('end', end)
  })
}

function monitorGone(path: string, cause: unknown): KeelsonError {
  return keelsonError('KEELSON_HELPER_FAILED', "The container's monitor is not there any more.", {
    cause,
    monitor: path,
    hint: 'Look the container up again; it has ended, or its monitor was killed and the next Engine.open() repairs that.',
  })
}
