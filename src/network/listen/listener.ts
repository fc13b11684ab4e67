import { once } from 'node:events'
import type { Server, Socket } from 'node:net'
import type { ListeningHandle } from '../../runtime/protocol.ts'

export interface ListenOptions {
  /** Gives it up while it is being made. */
  signal?: AbortSignal
}

/** Where a server listens. */
interface Place {
  network: string
  name: string
  port: number
  addresses: readonly string[]
}

/** A server of this program in a network, until it is closed: by this, by itself, with its engine, or with the program. */
export class NetworkListener implements AsyncDisposable {
  readonly #place: Place
  readonly #server: Server
  readonly #leave: () => Promise<void>
  readonly #connections = new Set<Socket>()
  #closed: Promise<void> | undefined

  /** @internal use `network.listen()` */
  constructor(place: Place, server: Server, leave: () => Promise<void>) {
    this.#place = place
    this.#server = server
    this.#leave = leave
  }

  /** What containers of the network call it. */
  get name(): string {
    return this.#place.name
  }

  get port(): number {
    return this.#place.port
  }

  /** Its address in the network, of IPv4 where it has one. */
  get address(): string {
    return this.#place.addresses[0] ?? ''
  }

  /** All that it has, at most one of each family. */
  get addresses(): readonly string[] {
    return this.#place.addresses
  }

  /** The network's name. */
  get network(): string {
    return this.#place.network
  }

  /** Ends what is connected, and gives back the port; with the last one of its name, name and address too. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal */
  async start(handle: ListeningHandle): Promise<void> {
    this.#server.on('connection', this.#track)
    const listening = once(this.#server, 'listening')
    this.#server.listen(handle)
    await listening
    // By its owner, perhaps. What goes wrong then the engine tells when it closes.
    this.#server.once('close', () => {
      this.close().catch(() => {})
    })
  }

  async #close(): Promise<void> {
    this.#server.off('connection', this.#track)
    const ended = this.#server.listening ? once(this.#server, 'close') : undefined
    if (ended !== undefined) this.#server.close()
    for (const connection of this.#connections) connection.destroy()
    await ended
    await this.#leave()
  }

  readonly #track = (connection: Socket): void => {
    this.#connections.add(connection)
    connection.once('close', () => this.#connections.delete(connection))
  }
}
