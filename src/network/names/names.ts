/** The name service of a container on networks, as a plan. Pure. */
import type { FirewallCommand, NameService } from '../../runtime/network-protocol.ts'
import { parseAddress, type Address } from '../addresses/address.ts'

/** Where a container finds it, at port 53. */
export const NAME_SERVER = '127.0.0.11'
/** What containers call the host that they are on. */
export const HOST_NAME = 'host.keelson.internal'

/** In extraHosts, in the place of an address: the host's, as the container reaches it. */
export const HOST_GATEWAY = 'host-gateway'

/** Beyond those that the kernel gives to clients. At port 53 itself it would be in the way of a container that serves names. */
const PORT = 61_053
const DOMAIN = 53
/** Not the host's table, which an engine in the container may have. */
const TABLE = { family: 'ip', table: 'keelson-names' }

/** What a container asks, and of whom. */
export interface NamesInput {
  container: string
  /** Directories of names, one a network, in order of preference. */
  directories: readonly string[]
  /** Directories of functions of programs that are asked first, one a network. */
  resolvers: readonly string[]
  /** Resolvers for everything else. */
  upstream: readonly string[]
}

export function planNames(input: NamesInput): { names: NameService; inside: FirewallCommand[] } {
  return {
    names: {
      listen: `${NAME_SERVER}:${PORT}`,
      container: input.container,
      directories: [...input.directories],
      resolvers: [...input.resolvers],
      upstream: [...input.upstream],
    },
    inside: redirection(),
  }
}

/** From port 53 of the service's address to where it listens. */
function redirection(): FirewallCommand[] {
  const type = ['ipv4_addr', 'inet_proto', 'inet_service']
  const map = { ...TABLE, name: 'service', type, map: ['ipv4_addr', 'inet_service'] }
  const elem = ['udp', 'tcp'].map((protocol) => [
    { concat: [NAME_SERVER, protocol, DOMAIN] },
    { concat: [NAME_SERVER, PORT] },
  ])
  const hook = { type: 'nat', hook: 'output', prio: -100, policy: 'accept' }
  const key = [
    { payload: { protocol: 'ip', field: 'daddr' } },
    { meta: { key: 'l4proto' } },
    { payload: { protocol: 'th', field: 'dport' } },
  ]
  const dnat = { family: 'ip', addr: { map: { key: { concat: key }, data: '@service' } } }
  return [
    { add: { table: { family: TABLE.family, name: TABLE.table } } },
    { add: { map } },
    { add: { element: { ...TABLE, name: 'service', elem } } },
    { add: { chain: { ...TABLE, name: 'output', ...hook } } },
    { add: { rule: { ...TABLE, chain: 'output', expr: [{ dnat }] } } },
  ]
}

/**
 * The name servers of a resolv.conf(5), as the helper takes them.
 *
 * @param scopeOf the number of a link, for addresses that hold only on one: `fe80::1%eth0`
 */
export function resolversOf(file: string, scopeOf: (link: string) => number | undefined): string[] {
  return file.split('\n').flatMap((line) => {
    const [keyword, value = ''] = line.trim().split(/\s+/)
    if (keyword !== 'nameserver') return []
    const [address = '', link] = value.split('%')
    if (parseAddress(address) === undefined) return []
    if (link === undefined) return [address]
    const scope = scopeOf(link)
    return scope === undefined ? [] : [`[${address}%${scope}]:${DOMAIN}`]
  })
}

/** The name under which an address is looked up: `4.3.2.1.in-addr.arpa`. */
export function reverseName({ family, value }: Address): string {
  const [count, bits, radix, zone] =
    family === 4 ? [4, 8n, 10, 'in-addr'] : ([32, 4n, 16, 'ip6'] as const)
  const parts = Array.from({ length: count }, (_, n) =>
    BigInt.asUintN(Number(bits), value >> (BigInt(n) * bits)).toString(radix),
  )
  return `${parts.join('.')}.${zone}.arpa`
}
