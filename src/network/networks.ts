import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { keelsonError } from '../errors.ts'
import { acquireLock } from '../store/lock.ts'
import {
  overlaps,
  formatPrefix,
  parsePrefix,
  type Family,
  type Prefix,
} from './addresses/address.ts'
import { checkParent } from './macvlan.ts'
import { Faults } from './faults/faults.ts'
import { Network, type NetworkContext, type NetworksContext } from './network.ts'
import {
  normalizeNetwork,
  plainSubnet,
  type NetworkOptions,
  type NormalizedNetwork,
  type Subnet,
} from './network-options.ts'
import {
  aboutNetwork,
  loadNetwork,
  loadNetworks,
  saveNetwork,
  type NetworkRecord,
} from './record.ts'
import { chooseSubnet, uniqueLocalSubnet } from './addresses/subnets.ts'

/** Which networks to list. All that are given must hold. */
export interface NetworkFilters {
  /** `key`, `key=value`. Every one must be there. */
  label?: string | string[]
  /** Part of the name. */
  name?: string
  driver?: 'bridge' | 'macvlan'
}

/** The one that containers are on which name none but publish ports. */
export const DEFAULT_NETWORK = 'default'

/** The networks of an engine's root: `engine.networks`. */
export class Networks {
  readonly #context: NetworksContext

  /** @internal use `engine.networks` */
  constructor(context: NetworkContext) {
    this.#context = { ...context, faults: new Faults(context) }
  }

  /**
   * Makes a network. Its bridge appears with its first container.
   *
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_NAME_IN_USE`, `KEELSON_SUBNET_IN_USE` with what uses it, `KEELSON_NO_SUBNET`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const network = await engine.networks.create({ name: 'backend', subnets: ['10.77.0.0/24'] })
   * ```
   */
  async create(options: NetworkOptions): Promise<Network> {
    return await this.#create(normalizeNetwork(options))
  }

  /**
   * A network by its name, its id, or the first digits of its id.
   *
   * @throws `KEELSON_NETWORK_NOT_FOUND`, `KEELSON_NETWORK_AMBIGUOUS` when several ids begin so
   */
  async get(nameOrId: string): Promise<Network> {
    if (nameOrId === DEFAULT_NETWORK) return await this.default()
    const { places } = this.#context
    const named = /^[\w.-]+$/.test(nameOrId) ? await loadNetwork(places, nameOrId) : undefined
    if (named !== undefined) return new Network(this.#context, named)
    const found = (await loadNetworks(places)).filter(
      ({ id }) => nameOrId !== '' && id.startsWith(nameOrId),
    )
    if (found.length > 1) {
      throw keelsonError(
        'KEELSON_NETWORK_AMBIGUOUS',
        `Several networks have an id that begins with ${nameOrId}.`,
        { network: nameOrId, hint: 'Give more digits of it.' },
      )
    }
    if (found[0] !== undefined) return new Network(this.#context, found[0])
    throw keelsonError('KEELSON_NETWORK_NOT_FOUND', `There is no network ${nameOrId}.`, {
      network: nameOrId,
      hint: 'engine.networks.list() shows those that are there; engine.networks.create() makes one.',
    })
  }

  /** The network `default`, made when it is first asked for. */
  async default(): Promise<Network> {
    const { places } = this.#context
    const found = await loadNetwork(places, DEFAULT_NETWORK)
    if (found !== undefined) return new Network(this.#context, found)
    try {
      return await this.create({ name: DEFAULT_NETWORK })
    } catch (error) {
      const made = await loadNetwork(places, DEFAULT_NETWORK)
      // Another process was quicker.
      if (made !== undefined) return new Network(this.#context, made)
      throw error
    }
  }

  /**
   * Newest first.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const networks = await engine.networks.list({ filters: { driver: 'bridge', label: 'app=shop' } })
   * for (const { name } of networks) console.log(name)
   * ```
   */
  async list(options: { filters?: NetworkFilters } = {}): Promise<Network[]> {
    const { filters = {} } = options
    return (await loadNetworks(this.#context.places))
      .filter((record) => matches(record, filters))
      .sort((a, b) => b.createdAt.localeCompare(a.createdAt))
      .map((record) => new Network(this.#context, record))
  }

  /**
   * Removes those that no container is on.
   *
   * @returns their names
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const { networks } = await engine.networks.prune()
   * console.log(networks)
   * ```
   */
  async prune(options: { filters?: NetworkFilters } = {}): Promise<{ networks: string[] }> {
    const networks = await this.list(options)
    const pruned = await Promise.all(
      networks.map(async (network) => {
        try {
          await network.remove()
          return [network.name]
        } catch (error) {
          if ((error as { code?: string }).code === 'KEELSON_NETWORK_IN_USE') return []
          throw error
        }
      }),
    )
    const result = { networks: pruned.flat() }
    this.#context.emit('network.prune', result)
    return result
  }

  /** The engine ends. @internal */
  async close(): Promise<void> {
    await this.#context.faults.end()
  }

  async #create(options: NormalizedNetwork): Promise<Network> {
    const { helper, places } = this.#context
    if (options.driver === 'macvlan') await checkParent(helper, options)
    await mkdir(places.records, { recursive: true, mode: 0o700 })
    await using _ = await acquireLock(helper, places.lock, 'exclusive')
    const others = await loadNetworks(places)
    if (others.some(({ name }) => name === options.name)) {
      throw keelsonError('KEELSON_NAME_IN_USE', `There is a network ${options.name} already.`, {
        network: options.name,
        hint: 'Choose another name, or use that one: engine.networks.get().',
      })
    }
    const id = randomBytes(32).toString('hex')
    const record: NetworkRecord = {
      id,
      name: options.name,
      driver: options.driver,
      ...(options.parent !== undefined && { parent: options.parent }),
      createdAt: new Date().toISOString(),
      subnets: await this.#subnets(id, options, others),
      internal: options.internal,
      interContainer: options.interContainer,
      ...(options.mtu !== undefined && { mtu: options.mtu }),
      labels: options.labels,
    }
    await saveNetwork(places, record)
    this.#context.emit('network.create', aboutNetwork(record))
    return new Network(this.#context, record)
  }

  async #subnets(
    id: string,
    { driver, subnets, ipv6 }: NormalizedNetwork,
    others: readonly NetworkRecord[],
  ): Promise<Subnet[]> {
    // Those of macvlan are the host's.
    if (driver === 'macvlan') return subnets
    const families = new Set(subnets.map(({ prefix }) => prefix.family))
    // Nobody else has what is made of the network's id.
    const chosen = new Set([...families, ...(subnets.length === 0 ? [4 as const] : [])])
    const taken = await this.#taken(others, [...chosen])
    for (const { prefix } of subnets) {
      const other = taken.find((each) => overlaps(each.prefix, prefix))
      if (other === undefined) continue
      throw keelsonError(
        'KEELSON_SUBNET_IN_USE',
        `The subnet ${formatPrefix(prefix)} overlaps ${formatPrefix(other.prefix)} of ${other.by}.`,
        { subnet: formatPrefix(prefix), hint: 'Give another, or none, to have a free one chosen.' },
      )
    }
    const prefixes = taken.map(({ prefix }) => prefix)
    return [
      ...subnets,
      ...(subnets.length === 0 ? [plainSubnet(chooseSubnet(prefixes))] : []),
      ...(ipv6 && !families.has(6) ? [plainSubnet(uniqueLocalSubnet(id))] : []),
    ]
  }

  /** What addresses the host reaches already, but for the rest of the world. */
  async #taken(
    others: readonly NetworkRecord[],
    families: readonly Family[],
  ): Promise<{ prefix: Prefix; by: string }[]> {
    const { helper } = this.#context
    const answers = await Promise.all(
      families.map((family) => helper.request('network.prefixes', { family })),
    )
    const prefixes = answers.flatMap((answer) => answer.prefixes)
    return [
      ...others.flatMap(({ name, subnets }) =>
        subnets.map(({ prefix }) => ({ prefix, by: `the network ${name}` })),
      ),
      ...prefixes
        .map((text) => ({ prefix: parsePrefix(text, 'subnets'), by: "the host's routes" }))
        .filter(({ prefix }) => prefix.length > 0),
    ]
  }
}

function matches(record: NetworkRecord, { label, name, driver }: NetworkFilters): boolean {
  const wanted = label === undefined ? [] : [label].flat()
  return (
    (name === undefined || record.name.includes(name)) &&
    (driver === undefined || record.driver === driver) &&
    wanted.every((each) => {
      const [key = '', ...value] = each.split('=')
      const has = record.labels[key]
      return has !== undefined && (value.length === 0 || has === value.join('='))
    })
  )
}
