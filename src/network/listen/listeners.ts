import type { Server } from 'node:net'
import { throwIfAborted } from '../../util/abort.ts'
import { Semaphore } from '../../util/semaphore.ts'
import type { Network } from '../network.ts'
import { checkServer, checkServerName, checkServerPort, listensAlready } from './arguments.ts'
import { NetworkListener, type ListenOptions } from './listener.ts'
import { joinAs, type ListenContext, type Member } from './member.ts'

/** Servers of this program in networks of one engine: those of one name share its address. */
export class Listeners implements AsyncDisposable {
  readonly #context: ListenContext
  /** Names come and go one after the other. */
  readonly #turn = new Semaphore(1)
  readonly #members = new Map<string, { member: Member; users: number }>()
  readonly #listeners = new Set<NetworkListener>()
  /** About to listen. */
  readonly #servers = new WeakSet<Server>()

  constructor(context: ListenContext) {
    this.#context = context
  }

  async open(
    network: Network,
    { name, port }: { name: string; port: number },
    server: Server,
    { signal }: ListenOptions,
  ): Promise<NetworkListener> {
    const lower = checkServerName(name)
    checkServerPort(port)
    checkServer(server)
    if (this.#servers.has(server)) throw listensAlready()
    throwIfAborted(signal, 'Listening in a network')
    this.#servers.add(server)
    try {
      const member = await this.#enter(network, lower, signal)
      const leave = () => this.#leave(network, lower)
      try {
        return await this.#listen({ network, name: lower, port }, server, member, leave, signal)
      } catch (error) {
        await leave()
        throw error
      }
    } finally {
      this.#servers.delete(server)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = [...this.#listeners].map((listener) => listener.close())
    const failures = (await Promise.allSettled(ended)).filter(({ status }) => status === 'rejected')
    if (failures.length === 0) return
    const reasons = failures.map((failure) => (failure as PromiseRejectedResult).reason as unknown)
    throw new AggregateError(reasons, 'Closing the servers in networks failed in part.')
  }

  async #listen(
    place: { network: Network; name: string; port: number },
    server: Server,
    member: Member,
    leave: () => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<NetworkListener> {
    const { network, name, port } = place
    const handle = await member.listen(port, signal)
    const { addresses } = member
    const listener = new NetworkListener(
      { network: network.name, name, port, addresses },
      server,
      async () => {
        this.#listeners.delete(listener)
        await leave()
      },
    )
    try {
      await listener.start(handle)
    } catch (error) {
      handle.close()
      throw error
    }
    this.#listeners.add(listener)
    return listener
  }

  async #enter(network: Network, name: string, signal: AbortSignal | undefined): Promise<Member> {
    const key = keyOf(network, name)
    return await this.#turn.run(async () => {
      const known = this.#members.get(key)
      if (known !== undefined) {
        known.users++
        return known.member
      }
      const member = await joinAs(this.#context, network, name, signal)
      this.#members.set(key, { member, users: 1 })
      return member
    }, signal)
  }

  async #leave(network: Network, name: string): Promise<void> {
    const key = keyOf(network, name)
    await this.#turn.run(async () => {
      const known = this.#members.get(key)
      if (known === undefined || --known.users > 0) return
      this.#members.delete(key)
      await known.member.leave()
    })
  }
}

function keyOf(network: Network, name: string): string {
  return `${network.id}/${name}`
}
