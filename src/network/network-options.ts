/** What a network is asked to be -> checked, in one form. Pure. */
import { keelsonError, type KeelsonError } from '../errors.ts'
import { nearest } from '../util/nearest.ts'
import {
  contains,
  formatAddress,
  nth,
  overlaps,
  parseAddress,
  parsePrefix,
  sizeOf,
  type Address,
  type Prefix,
} from './addresses/address.ts'

/** A subnet of a network. A string is the prefix alone. */
export interface SubnetOptions {
  /** `10.1.2.0/24` or `fd00:1::/64`. */
  subnet: string
  /** The host's address in it. Default: the first. */
  gateway?: string
  /** The part of it that containers are given addresses of. Default: all of it. */
  range?: string
}

/** What a network is to be like. */
export interface NetworkOptions {
  /** Letters, digits, `_`, `.`, `-`. Names it for {@link Networks.get}. */
  name: string
  /** Default `bridge`. */
  driver?: 'bridge' | 'macvlan'
  /** Of macvlan: the host's interface. */
  parent?: string
  /** Default: one of IPv4 that nothing on this host uses. At most one of each family. */
  subnets?: (string | SubnetOptions)[]
  /** Add an IPv6 subnet where `subnets` has none. Default `false`. */
  ipv6?: boolean
  /** No way out, and none in. Default `false`. */
  internal?: boolean
  /** Containers of it reach each other. Default `true`. */
  interContainer?: boolean
  /** Bytes of the largest packet. Default: the kernel's, 1500. */
  mtu?: number
  labels?: Record<string, string>
}

export interface Subnet {
  prefix: Prefix
  gateway: Address
  range: Prefix
}

/** {@link NetworkOptions} in one form. */
export interface NormalizedNetwork {
  name: string
  driver: 'bridge' | 'macvlan'
  parent: string | undefined
  /** Empty: to be chosen. */
  subnets: Subnet[]
  ipv6: boolean
  internal: boolean
  interContainer: boolean
  mtu: number | undefined
  labels: Record<string, string>
}

const OPTIONS = 'name driver parent subnets ipv6 internal interContainer mtu labels'.split(' ')
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$/
/** Words that mean something else where a network is named. */
const RESERVED = new Set(['none', 'host', 'container'])

/** @throws `KEELSON_INVALID_OPTION` naming the option */
export function normalizeNetwork(options: NetworkOptions): NormalizedNetwork {
  for (const name of Object.keys(options)) {
    if (OPTIONS.includes(name)) continue
    const near = nearest(name, OPTIONS)
    throw invalid(
      name,
      'is not an option of networks',
      near ? `Did you mean ${near}?` : `The options are ${OPTIONS.join(', ')}.`,
    )
  }
  const driver = options.driver ?? 'bridge'
  if (driver !== 'bridge' && driver !== 'macvlan') {
    throw invalid('driver', `cannot be ${JSON.stringify(driver)}`, 'Use bridge or macvlan.')
  }
  if (driver === 'macvlan' && (options.parent === undefined || options.subnets === undefined)) {
    throw invalid('driver', 'macvlan needs `parent` and `subnets`', 'They are those of the host.')
  }
  const subnets = (options.subnets ?? []).map(normalizeSubnet)
  for (const family of [4, 6]) {
    if (subnets.filter(({ prefix }) => prefix.family === family).length > 1) {
      throw invalid('subnets', `has more than one of IPv${family}`)
    }
  }
  return {
    name: checkNetworkName(options.name),
    driver,
    parent: options.parent,
    subnets,
    ipv6: options.ipv6 ?? false,
    internal: options.internal ?? false,
    interContainer: options.interContainer ?? true,
    mtu: mtu(options.mtu),
    labels: options.labels ?? {},
  }
}

/** @throws `KEELSON_INVALID_OPTION` */
export function checkNetworkName(name: unknown): string {
  if (typeof name === 'string' && NAME.test(name) && !RESERVED.has(name)) return name
  throw invalid(
    'name',
    `is not a network's name: ${JSON.stringify(name) ?? String(name)}`,
    'Use up to 64 letters, digits, "_", "." and "-", a letter or digit first; not none, host, container.',
  )
}

/** The usual: the first address is the host's, and all others are the containers'. */
export function plainSubnet(prefix: Prefix): Subnet {
  return { prefix, gateway: nth(prefix, 1n), range: prefix }
}

function normalizeSubnet(given: string | SubnetOptions): Subnet {
  const { subnet, gateway, range } = typeof given === 'string' ? { subnet: given } : given
  const prefix = parsePrefix(subnet, 'subnets')
  if (sizeOf(prefix) < 4n) {
    throw invalid('subnets', `${subnet} has no room for a gateway and a container`)
  }
  const part = range === undefined ? prefix : parsePrefix(range, 'subnets.range')
  if (!overlaps(prefix, part) || part.length < prefix.length) {
    throw invalid('subnets.range', `${range} is not within ${subnet}`)
  }
  return { prefix, gateway: gatewayOf(prefix, gateway), range: part }
}

function gatewayOf(prefix: Prefix, given: string | undefined): Address {
  if (given === undefined) return nth(prefix, 1n)
  const gateway = parseAddress(given)
  if (gateway && contains(prefix, gateway)) return gateway
  throw invalid(
    'subnets.gateway',
    `${given} is not within the subnet`,
    `The first address is ${formatAddress(nth(prefix, 1n))}.`,
  )
}

function mtu(value: number | undefined): number | undefined {
  if (value === undefined || (Number.isInteger(value) && value >= 1280 && value <= 65535)) {
    return value
  }
  throw invalid('mtu', `must be a whole number from 1280 to 65535, not ${String(value)}`)
}

function invalid(option: string, complaint: string, hint?: string): KeelsonError {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ${option} ${complaint}.`, {
    option,
    hint,
  })
}
