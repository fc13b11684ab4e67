import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import type { Server } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { KeelsonError, keelsonError } from '../errors.ts'
import type { Helper } from '../runtime/protocol.ts'
import { acquireLock } from '../store/lock.ts'
import type { Emit } from '../util/emit.ts'
import { formatAddress, formatPrefix } from './addresses/address.ts'
import { planBridge, planBridgeRules } from './firewall/bridge.ts'
import { baseTable } from './firewall/firewall.ts'
import { claimedAddresses, type AddressClaim } from './addresses/ipam.ts'
import { checkParent } from './macvlan.ts'
import type { NetworkFault } from './faults/fault.ts'
import type { Faults } from './faults/faults.ts'
import { NetworkLink } from './faults/link.ts'
import type { FaultMember, FindContainer } from './faults/members.ts'
import type { PartitionOptions } from './faults/network-faults.ts'
import type { LinkOptions } from './faults/options.ts'
import { nameHost } from './names/name-files.ts'
import type { NetworkEvents } from './events.ts'
import type { ListenOptions, NetworkListener } from './listen/listener.ts'
import { serverOf } from './listen/member-id.ts'
import { sweepNetworkClaims } from './claims.ts'
import type {
  ChangedMember,
  NetworkConnectOptions,
  NetworkDisconnectOptions,
  NetworkMember,
} from './members.ts'
import type { NameFunction, NameResolver, ResolveOptions } from './resolve/resolver.ts'
import type { NetworkPlaces } from './places.ts'
import { aboutNetwork, bridgeName, loadNetwork, type NetworkRecord } from './record.ts'

/** What networks have done to containers, which they know nothing of. `undefined`: nothing was to be done. */
interface Members {
  connect(
    network: Network,
    member: string,
    options: NetworkConnectOptions,
  ): Promise<ChangedMember | undefined>
  disconnect(
    network: Network,
    member: string,
    options: NetworkDisconnectOptions,
  ): Promise<ChangedMember | undefined>
}

/** What networks need of their engine. */
export interface NetworkContext {
  helper: Helper
  places: NetworkPlaces
  members: Members
  /** Resolves when the containers of this engine that have ended have given back what they had. */
  ending: () => Promise<unknown>
  /** A container by name or id. */
  container: FindContainer
  warn(code: string, message: string): void
  /** Hears what happens to networks. */
  emit: Emit<NetworkEvents>
  resolve(network: Network, answer: NameFunction, options: ResolveOptions): Promise<NameResolver>
  listen(
    network: Network,
    place: { name: string; port: number },
    server: Server,
    options: ListenOptions,
  ): Promise<NetworkListener>
}

/** The same within the networks of one engine. @internal */
export interface NetworksContext extends NetworkContext {
  faults: Faults
}

/** What {@link Network.inspect} tells. */
export interface NetworkInspect {
  id: string
  name: string
  driver: 'bridge' | 'macvlan'
  createdAt: string
  internal: boolean
  interContainer: boolean
  labels: Record<string, string>
  subnets: { subnet: string; gateway: string; range: string }[]
  /** The host's interface; that of macvlan is the parent. */
  interface: string
  /** Containers that have an address now, by id. */
  containers: Record<string, { addresses: string[] }>
  /** Servers of programs, by name: see {@link Network.listen}. */
  servers: Record<string, { addresses: string[] }>
}

/**
 * A network: containers on it reach each other by name, and the rest of the world through the host.
 *
 * @example
 * ```ts
 * import { Engine } from 'keelson'
 *
 * await using engine = await Engine.open()
 * const network = await engine.networks.create({ name: 'backend', internal: true })
 * console.log((await network.inspect()).subnets)
 * await network.remove()
 * ```
 */
export class Network {
  readonly #context: NetworksContext
  /** @internal */
  readonly record: NetworkRecord

  /** @internal use `engine.networks` */
  constructor(context: NetworksContext, record: NetworkRecord) {
    this.#context = context
    this.record = record
  }

  /** 64 hexadecimal digits. */
  get id(): string {
    return this.record.id
  }

  get name(): string {
    return this.record.name
  }

  get labels(): Readonly<Record<string, string>> {
    return this.record.labels
  }

  /** The host's own addresses in it. @internal */
  get gateways(): string[] {
    const { driver, subnets } = this.record
    return driver === 'bridge' ? subnets.map(({ gateway }) => formatAddress(gateway)) : []
  }

  async inspect(): Promise<NetworkInspect> {
    const { record } = this
    const claims = await claimedAddresses(this.#context.places.addresses(record.id))
    const containers: NetworkInspect['containers'] = {}
    const servers: NetworkInspect['servers'] = {}
    for (const { address, container } of claims) {
      const server = serverOf(container)
      const [members, key] = server === undefined ? [containers, container] : [servers, server]
      const { addresses } = (members[key] ??= { addresses: [] })
      addresses.push(formatAddress(address))
    }
    return {
      id: record.id,
      name: record.name,
      driver: record.driver,
      createdAt: record.createdAt,
      internal: record.internal,
      interContainer: record.interContainer,
      labels: record.labels,
      subnets: record.subnets.map(({ prefix, gateway, range }) => {
        return {
          subnet: formatPrefix(prefix),
          gateway: formatAddress(gateway),
          range: formatPrefix(range),
        }
      }),
      interface: record.driver === 'macvlan' ? (record.parent ?? '') : bridgeName(record.id),
      containers,
      servers,
    }
  }

  /**
   * Makes a server of this program a member of the network: containers reach it by `name`, at an address of its own, on an internal network
   * too. It is `server.listen()` in another place: connections come straight from the kernel, and nothing has to be published. Several ports
   * may have one name, with a server each.
   *
   * It lasts until it or the server is closed, or the engine; of a program that was killed nothing is left. A container that starts later
   * under the same name shares it.
   *
   * @param server one of `node:http`, `node:https`, `node:http2`, `node:net` or `node:tls` that does not listen yet
   * @throws `KEELSON_INVALID_OPTION` (also for a server that listens already), `KEELSON_NAME_IN_USE` when a container or another program has
   *   that name in the network, `KEELSON_PORT_IN_USE`, `KEELSON_NO_ADDRESS`, `KEELSON_NETWORK_NOT_FOUND`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { createServer } from 'node:http'
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const network = await engine.networks.create({ name: 'backend', internal: true })
   * const server = createServer((_request, response) => response.end('hello'))
   * await using api = await network.listen('api', 80, server)
   * console.log(`http://${api.name}:${api.port}/ is at ${api.address}`)
   * ```
   */
  async listen(
    name: string,
    port: number,
    server: Server,
    options: ListenOptions = {},
  ): Promise<NetworkListener> {
    return await this.#context.listen(this, { name, port }, server, options)
  }

  /**
   * Puts a container on it, at once when it runs and for all its starts to come: it gets an interface (`eth1`, ...), an address, and its
   * names on this network, and finds those of others; the programs in it go on. The way to everything else, and its published ports with
   * it, go by the network of the highest priority that has a way out.
   *
   * @param container itself, its name, its id, or the first digits of that; it runs, stands still, or does not run
   * @throws `KEELSON_NETWORK_CONNECTED` when it is on it already, `KEELSON_NETWORK_MODE` for one that shares another's network or was
   *   created with none, `KEELSON_CONTAINER_STATE`, `KEELSON_CONTAINER_NOT_FOUND`, `KEELSON_NETWORK_NOT_FOUND` when this network was
   *   removed, `KEELSON_ADDRESS_IN_USE`, `KEELSON_NO_ADDRESS`, `KEELSON_INVALID_OPTION`, `KEELSON_UNSUPPORTED`,
   *   `KEELSON_NETWORK_FAILED`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const backend = await engine.networks.get('backend')
   * await backend.connect('web', { aliases: ['frontend'], ip: '10.77.0.10' })
   * ```
   */
  async connect(container: NetworkMember, options: NetworkConnectOptions = {}): Promise<void> {
    this.#tell(
      'network.connect',
      await this.#context.members.connect(this, nameOf(container), options),
    )
  }

  /**
   * Takes a container off it, at once when it runs: its interface goes, with every connection by it; its address and names are free when
   * this returns. Where the way to everything else went by this network, it goes by the next one.
   *
   * @param container as for {@link Network.connect}
   * @throws `KEELSON_NETWORK_NOT_CONNECTED`, `KEELSON_NETWORK_MODE`, `KEELSON_CONTAINER_STATE`, `KEELSON_CONTAINER_NOT_FOUND`,
   *   `KEELSON_NETWORK_FAILED`, `KEELSON_INVALID_OPTION`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const backend = await engine.networks.get('backend')
   * await backend.disconnect('web')
   * ```
   */
  async disconnect(
    container: NetworkMember,
    options: NetworkDisconnectOptions = {},
  ): Promise<void> {
    const { helper, places, members } = this.#context
    try {
      this.#tell('network.disconnect', await members.disconnect(this, nameOf(container), options))
    } catch (error) {
      const gone = KeelsonError.is(error) && error.code === 'KEELSON_CONTAINER_NOT_FOUND'
      if (!gone || options.force !== true) throw error
      await sweepNetworkClaims({ helper, places }, this.id)
    }
  }

  /**
   * Has a function of this program asked for every name that containers on this network look up, before anybody else: for its own
   * services, for rules of who may find what, for names of the world that mean something else in a test. What it does not want to tell
   * (`undefined`) is answered as if it was not there: from the names of the network's containers, then by the host's resolvers.
   *
   * It lasts until it is closed, or the engine. `fallback` says what holds when it does not answer in time, throws, or when this program
   * is gone. Several may be there at once, of several programs: the newest is asked first. A container on several networks is answered
   * by the resolvers of all of them. How many questions it is asked at a time is limited; those beyond are answered SERVFAIL.
   *
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_NETWORK_NOT_FOUND`, `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`, `KEELSON_IO`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const network = await engine.networks.get('sandbox')
   * const allowed = new Set(['registry.npmjs.org'])
   * await using resolver = await network.resolve(
   *   ({ name }) => {
   *     if (name === 'metrics.internal') return '10.77.0.1'
   *     return allowed.has(name) ? undefined : null
   *   },
   *   { fallback: 'fail' },
   * )
   * ```
   */
  async resolve(answer: NameFunction, options: ResolveOptions = {}): Promise<NameResolver> {
    return await this.#context.resolve(this, answer, options)
  }

  /**
   * Divides the network: no packet passes between the two groups, in neither direction, in new connections or in those that there are.
   * Everything else goes on as before, each group by itself included. A container that is started again is on the side that it was on;
   * one of the names that several have stands for those that have it now.
   *
   * Packets are dropped in the bridge, whatever their protocol. A port that a container publishes on the host leads from one group to the
   * other no more than the network does; what is parted from `host` does not reach the world either. `exec`, `connect` and the name service
   * do not go through the network.
   *
   * @param one containers, their names or aliases here, or `host`: the host with all that is behind it
   * @returns the fault: healed by its `heal()`, by disposal, with the network, or when this program ends, however it ends
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_CONTAINER_NOT_FOUND`, `KEELSON_NETWORK_NOT_CONNECTED`, `KEELSON_UNSUPPORTED` with the `feature`
   *   that this kernel lacks, `KEELSON_PERMISSION`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const network = await engine.networks.get('backend')
   * await using fault = await network.partition(['app'], ['database', 'host'])
   * ```
   */
  async partition(
    one: readonly FaultMember[],
    other: readonly FaultMember[],
    options: PartitionOptions = {},
  ): Promise<NetworkFault> {
    return await this.#context.faults.of(this).partition(one, other, options)
  }

  /**
   * Faults of the link between two members: said here or one after the other, and brought about by `apply()`. On every kernel they are the
   * same: none needs netem. Members are those of {@link Network.partition}.
   *
   * @throws `KEELSON_INVALID_OPTION`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const network = await engine.networks.get('backend')
   * await using slow = await network.link('app', 'database', { latency: '80ms', loss: 0.01 }).apply()
   * await using reset = await network.link('app', 'database').reset().apply()
   * console.log(reset.resetConnections)
   * ```
   */
  link(a: FaultMember, b: FaultMember, options: LinkOptions = {}): NetworkLink {
    return new NetworkLink(options, (link, { signal }) =>
      this.#context.faults.of(this).link(a, b, link, signal),
    )
  }

  /** Somebody has an address on it, who had none or another. @internal */
  async joined(): Promise<void> {
    await this.#context.faults.follow(this.id)
  }

  /**
   * Removes it. Of one that is not there any more, nothing is to be done.
   *
   * @throws `KEELSON_NETWORK_IN_USE` with the `containers` and `servers` that have an address in it
   */
  async remove(): Promise<void> {
    const { helper, places } = this.#context
    const { id, name } = this.record
    await using _ = await this.#lock()
    // Another may have its name by now.
    if ((await loadNetwork(places, name))?.id !== id) return await this.#forget()
    // First: whoever claims an address now sees that it is not ready any more, and comes after this.
    const wasReady = existsSync(places.ready(id))
    await rm(places.ready(id), { force: true })
    const claims = await this.#claims()
    if (claims.length > 0) {
      if (wasReady) await writeFile(places.ready(id), '')
      const members = [...new Set(claims.map(({ container }) => container))]
      const containers = members.filter((member) => serverOf(member) === undefined)
      const who = containers.length > 0 ? 'containers' : 'servers'
      throw keelsonError('KEELSON_NETWORK_IN_USE', `The network ${name} has ${who} on it.`, {
        network: name,
        containers,
        servers: members.map(serverOf).filter((server) => server !== undefined),
        hint: 'Stop or disconnect them first.',
      })
    }
    await this.#context.faults.end(id)
    if (this.record.driver === 'bridge') {
      await helper.request('network.apply', {
        links: [{ do: 'delete', name: bridgeName(id) }],
        firewall: planBridgeRules(this.record, 'delete'),
      })
    }
    await rm(places.record(name), { force: true })
    await this.#forget()
    this.#context.emit('network.remove', aboutNetwork(this.record))
  }

  /**
   * Makes the bridge where this boot has not got it yet. It stays as long as somebody has an address, if it is there after that was claimed.
   *
   * @internal
   */
  async ready(): Promise<void> {
    const { helper, places } = this.#context
    const { id, name } = this.record
    if (existsSync(places.ready(id))) return
    await using _ = await this.#lock()
    if (existsSync(places.ready(id))) return
    if ((await loadNetwork(places, name))?.id !== id) {
      await this.#forget()
      throw keelsonError('KEELSON_NETWORK_NOT_FOUND', `The network ${name} was removed.`, {
        network: name,
        hint: 'engine.networks.create() makes another.',
      })
    }
    await mkdir(places.addresses(id), { recursive: true, mode: 0o700 })
    if (this.record.driver === 'macvlan') await checkParent(helper, this.record)
    if (this.record.driver === 'bridge') {
      await this.#checkHost()
      await ensureTable(helper)
      // What a crash has left of it already is as it would be made.
      const firewall = planBridgeRules(this.record, 'add')
      await helper.request('network.apply', { links: planBridge(this.record), firewall })
      nameHost(places, id, this.gateways)
    }
    await writeFile(places.ready(id), '')
  }

  /** Every base chain at a hook must accept a packet: what another one drops, no rule of ours can let through. */
  async #checkHost(): Promise<void> {
    const { helper } = this.#context
    const { nftables, dropping } = await helper.request('network.firewall', {})
    if (!nftables.ok) {
      throw keelsonError(
        'KEELSON_UNSUPPORTED',
        'This host has no nf_tables, which bridge networks need.',
        {
          ...(nftables.errno !== undefined && { errno: getSystemErrorName(-nftables.errno) }),
          hint: "Load the kernel module nf_tables, or give networks: 'none' or 'host'.",
        },
      )
    }
    if (dropping.length === 0 || this.record.internal) return
    this.#context.warn(
      'network-forward-drop',
      `Packets of the network ${this.name} to and from other hosts are dropped by the firewall of this host (${dropping.join(', ')}).`,
    )
  }

  /** What of one that is not there any more may have been made again by a start that came too late. */
  async #forget(): Promise<void> {
    const { places } = this.#context
    await rm(places.run(this.id), { recursive: true, force: true })
    await rm(places.bridgeLock(this.id), { force: true })
  }

  /** Those of containers that are ending are gone soon. */
  async #claims(): Promise<AddressClaim[]> {
    const { places, ending } = this.#context
    const claims = await claimedAddresses(places.addresses(this.id))
    if (claims.length === 0) return []
    await ending()
    return await claimedAddresses(places.addresses(this.id))
  }

  #tell(type: 'network.connect' | 'network.disconnect', member: ChangedMember | undefined): void {
    if (member === undefined) return
    this.#context.emit(type, { ...aboutNetwork(this.record), ...member })
  }

  async #lock() {
    const { helper, places } = this.#context
    await mkdir(places.runs, { recursive: true, mode: 0o700 })
    return await acquireLock(helper, places.bridgeLock(this.record.id), 'exclusive')
  }
}

function nameOf(member: NetworkMember): string {
  if (typeof member === 'string') return member
  if (typeof member === 'object' && typeof member?.id === 'string') return member.id
  throw keelsonError('KEELSON_INVALID_OPTION', 'What is to be connected is no container.', {
    option: 'container',
    hint: 'Pass a container, its name or its id.',
  })
}

/** Whoever is first makes it; that it is there already is what all others are told. */
async function ensureTable(helper: Helper): Promise<void> {
  try {
    await helper.request('network.apply', { links: [], firewall: baseTable() })
  } catch (error) {
    if ((error as { failure?: { errno?: string } }).failure?.errno !== 'EEXIST') throw error
  }
}
