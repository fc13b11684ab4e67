import { connect, type Socket } from 'node:net'
import { deferred } from '../util/deferred.ts'
import {
  decodeMessage,
  encodeMessage,
  ERROR,
  METHOD_CALL,
  METHOD_RETURN,
  SIGNAL,
  type Message,
  type Value,
} from './dbus-message.ts'

type Pending = ReturnType<typeof deferred<Value[]>>

/** A method to call. */
export interface Call {
  destination: string
  path: string
  interface: string
  member: string
  signature?: string
  body?: Value[]
}

/** What the other side answered to a call: `org.freedesktop.DBus.Error.AccessDenied`, ... */
export class DBusError extends Error {
  override readonly name: string

  constructor(name: string, message: string) {
    super(message || name)
    this.name = name
  }
}

/**
 * A connection to a D-Bus server on a unix socket, authenticated as this process's user (EXTERNAL).
 *
 * With `bus`, the server is a message bus and greeted as such; without, it is a single service's own socket.
 */
export class DBusConnection implements AsyncDisposable {
  readonly #socket: Socket
  readonly #calls = new Map<number, Pending>()
  readonly #ended = deferred<never>()
  #failure: unknown
  #onSignal: (message: Message) => void = () => {}
  #serial = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#ended.promise.catch(() => {})
  }

  static async open(
    socketPath: string,
    options: { bus: boolean; signal: AbortSignal },
  ): Promise<DBusConnection> {
    options.signal.throwIfAborted()
    const socket = connect({ path: socketPath, signal: options.signal })
    const connection = new DBusConnection(socket)
    const end = (error?: Error) =>
      connection.#fail(error ?? new Error(`${socketPath} closed the connection`))
    socket.on('error', end)
    socket.on('close', () => end())
    try {
      const rest = await Promise.race([authenticate(socket), connection.#ended.promise])
      connection.#read(rest)
      if (options.bus) await connection.call({ ...BUS, member: 'Hello' })
      return connection
    } catch (error) {
      socket.destroy()
      throw error
    }
  }

  /** Ends with the answer's values, or the {@link DBusError} that the other side gave. */
  call(call: Call): Promise<Value[]> {
    const serial = ++this.#serial
    const pending = deferred<Value[]>()
    this.#calls.set(serial, pending)
    const message = { ...call, type: METHOD_CALL, serial, body: call.body ?? [] }
    this.#socket.write(encodeMessage(message))
    if (this.#failure !== undefined) pending.reject(this.#failure)
    return pending.promise.finally(() => this.#calls.delete(serial))
  }

  /** Has the bus send the signals that `rule` matches. */
  async match(rule: string): Promise<void> {
    await this.call({ ...BUS, member: 'AddMatch', signature: 's', body: [rule] })
  }

  /** Hears every signal from now on. */
  onSignal(listener: (message: Message) => void): void {
    this.#onSignal = listener
  }

  /** Rejects when the connection has ended. */
  get ended(): Promise<never> {
    return this.#ended.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy()
  }

  #read(received: Buffer): void {
    let bytes = received
    const next = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      try {
        for (let found = decodeMessage(bytes); found; found = decodeMessage(bytes)) {
          bytes = bytes.subarray(found.length)
          this.#dispatch(found.message)
        }
      } catch (error) {
        this.#fail(error)
      }
    }
    this.#socket.on('data', next)
    next(Buffer.alloc(0))
  }

  #dispatch(message: Message): void {
    if (message.type === SIGNAL) return this.#onSignal(message)
    const pending = this.#calls.get(message.replySerial ?? 0)
    if (message.type === METHOD_RETURN) pending?.resolve(message.body)
    if (message.type === ERROR) {
      const [text] = message.body
      pending?.reject(new DBusError(message.errorName ?? '', typeof text === 'string' ? text : ''))
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    this.#ended.reject(error)
    for (const pending of this.#calls.values()) pending.reject(error)
    this.#socket.destroy()
  }
}

const BUS = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
}

/**
 * The kernel tells the server who we are; the words only name the same user. Ends with what came after them.
 *
 * All at once: systemd reads what it finds, and leaves a call that came together with the last of these words lying until
 * something else arrives.
 */
async function authenticate(socket: Socket): Promise<Buffer> {
  const uid = Buffer.from(String(process.geteuid?.() ?? 0)).toString('hex')
  socket.write(`\0AUTH EXTERNAL ${uid}\r\nBEGIN\r\n`)
  const { line, rest } = await readLine(socket)
  if (!line.startsWith('OK ')) {
    throw new DBusError('org.freedesktop.DBus.Error.AuthFailed', `refused to authenticate: ${line}`)
  }
  return rest
}

function readLine(socket: Socket): Promise<{ line: string; rest: Buffer }> {
  const { promise, resolve, reject } = deferred<{ line: string; rest: Buffer }>()
  let bytes = Buffer.alloc(0)
  const next = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    const end = bytes.indexOf('\r\n')
    if (end < 0 && bytes.length < 4096) return
    socket.off('data', next)
    if (end < 0) reject(new RangeError('the server does not speak D-Bus'))
    resolve({ line: bytes.toString('latin1', 0, end), rest: bytes.subarray(end + 2) })
  }
  socket.on('data', next)
  return promise
}
