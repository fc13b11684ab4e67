import type { AddressInfo, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { callbackify } from 'node:util'

type Done = (error?: Error | null) => void

/**
 * A connection into a container that can be used before it stands, as one of `net.createConnection()`: what is written waits. It emits
 * `connect`, and `error` when it cannot be made. For clients that are given their stream by a function: node-postgres, mysql2.
 */
export class ContainerConnection extends Duplex {
  readonly #dial: (signal: AbortSignal) => Promise<Socket>
  readonly #over = new AbortController()
  #socket: Socket | undefined
  /** What was asked of the socket before there was one. */
  #settings: ((socket: Socket) => void)[] = []

  /** @internal use {@link Container.createConnection} */
  constructor(dial: (signal: AbortSignal) => Promise<Socket>) {
    super()
    this.#dial = dial
  }

  /** Whether it does not stand yet. */
  get connecting(): boolean {
    return this.#socket === undefined && !this.destroyed
  }

  get remoteAddress(): string | undefined {
    return this.#socket?.remoteAddress
  }

  get remotePort(): number | undefined {
    return this.#socket?.remotePort
  }

  address(): AddressInfo | object {
    return this.#socket?.address() ?? {}
  }

  /** It dials by itself, and one place only: for clients that ask their stream to connect. */
  connect(): this {
    return this
  }

  setNoDelay(on?: boolean): this {
    return this.#set((socket) => socket.setNoDelay(on))
  }

  setKeepAlive(on?: boolean, initialDelay?: number): this {
    return this.#set((socket) => socket.setKeepAlive(on, initialDelay))
  }

  setTimeout(milliseconds: number, listener?: () => void): this {
    if (listener !== undefined) this.once('timeout', listener)
    return this.#set((socket) => socket.setTimeout(milliseconds))
  }

  ref(): this {
    return this.#set((socket) => socket.ref())
  }

  unref(): this {
    return this.#set((socket) => socket.unref())
  }

  override _construct(done: Done): void {
    callbackify(() => this.#dial(this.#over.signal))((error, socket) => {
      if (error !== null || this.destroyed) {
        socket?.destroy()
        return done(error)
      }
      this.#adopt(socket)
      done()
      this.emit('connect')
      this.emit('ready')
    })
  }

  override _read(): void {
    this.#socket?.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#socket?.write(chunk, done)
  }

  override _final(done: Done): void {
    this.#socket?.end(() => done())
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#over.abort()
    this.#socket?.destroy()
    done(error)
  }

  #adopt(socket: Socket): void {
    this.#socket = socket
    // Whether this side goes on when the other one has ended is for this stream to say.
    socket.allowHalfOpen = true
    for (const apply of this.#settings.splice(0)) apply(socket)
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause()
    })
    socket.on('end', () => this.push(null))
    socket.on('timeout', () => this.emit('timeout'))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => this.destroy())
  }

  #set(apply: (socket: Socket) => void): this {
    if (this.#socket === undefined) this.#settings.push(apply)
    else apply(this.#socket)
    return this
  }
}
