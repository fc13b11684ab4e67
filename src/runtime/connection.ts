import type { Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { keelsonError, type KeelsonError } from '../errors.ts'
import { deferred } from '../util/deferred.ts'
import { encodeFrame, FrameDecoder } from './frames.ts'
import type { HelperFailure, RequestOptions, Progress, WireFailure } from './protocol.ts'

/** Operations by name, each with its arguments and its answer. */
type OperationTable<Table> = { [Op in keyof Table]: [object, unknown] }

/** What the other side says without being asked; `container` names whoever it is about. */
interface WireEvent {
  event: string
  container: string
}

/** A request on the wire, waiting for its answer. */
interface Pending {
  op: string
  resolve(value: unknown): void
  reject(error: KeelsonError): void
  onProgress: RequestOptions['onProgress']
}

interface WireMessage {
  id?: number
  ok?: unknown
  error?: WireFailure
  progress?: Progress
  event?: string
}

export type CloseListener = (reason: KeelsonError) => void

/**
 * Requests, answers and events over a stream socket (`docs/helper-protocol.md`), to the launcher or to a monitor. While nothing is asked
 * and nobody holds it, it does not keep the event loop alive.
 */
export class Connection<Table extends OperationTable<Table>, Event extends WireEvent> {
  readonly #socket: Socket
  readonly #pending = new Map<number, Pending>()
  readonly #onEvent: (event: Event) => void
  #nextId = 1
  #holds = 0
  #broken: KeelsonError | undefined
  #isClosed = false
  readonly #closeListeners = new Set<CloseListener>()

  /** @param gone makes the error that requests get when the other side has ended */
  constructor(
    socket: Socket,
    listen: { onEvent(event: Event): void; gone(cause: Error | undefined): KeelsonError },
  ) {
    this.#socket = socket
    this.#onEvent = (event) => listen.onEvent(event)
    const decoder = new FrameDecoder()
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of decoder.push(chunk)) this.#dispatch(message as WireMessage)
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    // Half a connection is none, whatever the socket allows.
    socket.on('end', () => socket.end())
    socket.on('error', (cause) => this.fail(listen.gone(cause)))
    socket.on('close', () => this.fail(listen.gone(undefined)))
    socket.unref()
  }

  get isOver(): boolean {
    return this.#broken !== undefined
  }

  async request<Op extends keyof Table & string>(
    op: Op,
    args: Table[Op][0],
    options: RequestOptions = {},
  ): Promise<Table[Op][1]> {
    const { signal, onProgress, background = false } = options
    if (this.#broken !== undefined) throw this.#broken
    if (signal?.aborted) throw aborted(op, signal)
    const id = this.#nextId++
    const frame = encodeFrame({ id, op, ...args })
    const cancel = () => this.notify('cancel', { request: id })
    try {
      return await new Promise<Table[Op][1]>((resolve, reject) => {
        this.#pending.set(id, { op, resolve, reject, onProgress })
        if (!background) this.ref()
        signal?.addEventListener('abort', cancel, { once: true })
        this.#socket.write(frame)
      })
    } catch (error) {
      throw helperFailure(error)?.kind === 'cancelled' ? aborted(op, signal, error) : error
    } finally {
      signal?.removeEventListener('abort', cancel)
      if (!background) this.unref()
    }
  }

  /** Says something that has no answer. */
  notify(op: 'cancel' | 'release', args: object): void {
    if (this.#broken === undefined) this.#socket.write(encodeFrame({ op, ...args }))
  }

  /** From now on requests fail with this error; the first one counts. */
  fail(error: KeelsonError): void {
    const reason = (this.#broken ??= error)
    for (const pending of this.#pending.values()) pending.reject(reason)
    this.#pending.clear()
    this.#isClosed = true
    const listeners = [...this.#closeListeners]
    this.#closeListeners.clear()
    for (const listener of listeners) listener(reason)
  }

  /** Calls `listener` when the connection ends, whoever ended it, or soon when it has; not any more after the returned function. */
  onClose(listener: CloseListener): () => void {
    const listeners = this.#closeListeners
    listeners.add(listener)
    const reason = this.#isClosed ? this.#broken : undefined
    if (reason !== undefined) {
      queueMicrotask(() => {
        if (listeners.delete(listener)) listener(reason)
      })
    }
    return () => listeners.delete(listener)
  }

  /**
   * What `promise` gives, or rejects when the connection ends before. Not a race with one promise for all: it would keep what each of them
   * has given until the connection ends.
   */
  async unlessClosed<T>(promise: Promise<T>): Promise<T> {
    const closed = deferred<never>()
    const unlisten = this.onClose(closed.reject)
    try {
      return await Promise.race([promise, closed.promise])
    } finally {
      unlisten()
    }
  }

  /** Refuses further requests; those that wait are still answered. */
  close(error: KeelsonError): void {
    this.#broken ??= error
    this.#socket.end()
  }

  /** Closes it without waiting for the other side. */
  destroy(): void {
    this.#socket.destroy()
  }

  /** Keeps the event loop alive, once for each call, until {@link Connection.unref}. */
  ref(): void {
    if (this.#holds++ === 0) this.#socket.ref()
  }

  unref(): void {
    if (--this.#holds === 0) this.#socket.unref()
  }

  #dispatch(message: WireMessage): void {
    if (message.event !== undefined) return this.#onEvent(message as unknown as Event)
    const id = message.id ?? -1
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    if (message.progress !== undefined) return pending.onProgress?.(message.progress)
    this.#pending.delete(id)
    if (message.error === undefined) pending.resolve(message.ok)
    else pending.reject(helperError(pending.op, message.error))
  }
}

/** The {@link HelperFailure} inside an error of a request, if it is one. */
export function helperFailure(error: unknown): HelperFailure | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  return (error as { failure?: HelperFailure }).failure
}

/** The error of a request that was answered with a failure. */
export function helperError(op: string, { errno, ...facts }: WireFailure): KeelsonError {
  const failure: HelperFailure =
    errno === undefined ? facts : { ...facts, errno: getSystemErrorName(-errno) }
  const what = [failure.step, failure.path, failure.errno, failure.detail]
    .filter(Boolean)
    .join(': ')
  return keelsonError('KEELSON_HELPER_FAILED', `The helper could not carry out ${op}: ${what}.`, {
    failure,
  })
}

function aborted(op: string, signal?: AbortSignal, cause?: unknown): KeelsonError {
  return keelsonError('KEELSON_ABORTED', `The operation ${op} was aborted.`, {
    cause: cause ?? signal?.reason,
    reason: signal?.reason as unknown,
  })
}
