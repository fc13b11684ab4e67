/** A container's place in one network, as operations. Pure. */
import { createHash } from 'node:crypto'
import { formatAddress, type Address, type Family } from '../addresses/address.ts'
import type { LinkOperation } from '../../runtime/network-protocol.ts'
import { bridgeName, type NetworkRecord } from '../record.ts'

export interface Endpoint {
  network: NetworkRecord
  container: string
  /** At most one of each family. */
  addresses: Address[]
  mac: string
  /** Its interface is `eth<n>`, as long as it is there. */
  index: number
  priority: number
}

/** Operations on the host, and inside the container's namespace. */
export interface EndpointPlan {
  host: LinkOperation[]
  inside: LinkOperation[]
}

/** The link with its addresses. */
export function planEndpoint(endpoint: Endpoint): EndpointPlan {
  const { network, addresses } = endpoint
  const name = interfaceName(endpoint)
  return {
    host: hostLinks(endpoint, linkName(network.id, endpoint.container), name),
    inside: [
      ...addresses.map((address): LinkOperation => {
        const prefix = subnetOf(network, address)?.prefix.length ?? 32
        return { do: 'address', name, address: formatAddress(address), prefix }
      }),
      { do: 'set', name, up: true },
    ],
  }
}

/** Takes the link away, from wherever it got to. */
export function planRemoval(endpoint: Endpoint): EndpointPlan {
  // With one end of a pair the other goes.
  if (endpoint.network.driver === 'bridge') {
    const name = linkName(endpoint.network.id, endpoint.container)
    return { host: [{ do: 'delete', name }], inside: [] }
  }
  return { host: [], inside: [{ do: 'delete', name: interfaceName(endpoint) }] }
}

/** The host's hardware address in a network. It stays as it is whoever comes and goes, so that nobody loses the way out for a moment. */
export function hostMac({ subnets }: NetworkRecord): string {
  return macOf(subnets[0]?.gateway)
}

/** The host's end of a container's link: one name for whoever computes it. */
export function linkName(network: string, container: string): string {
  return `kv${createHash('sha256').update(`${network} ${container}`).digest('hex').slice(0, 11)}`
}

/** What it is called in the container. */
export function interfaceName({ index }: Pick<Endpoint, 'index'>): string {
  return `eth${index}`
}

/** By priority; of equal ones the container was on the first before. */
export function inOrder<Each extends Endpoint>(endpoints: readonly Each[]): Each[] {
  return endpoints.toSorted((a, b) => b.priority - a.priority)
}

/** The way to everything else, by what network it leads in each family: the first that leads anywhere. */
export function planRoutes(endpoints: readonly Endpoint[]): Map<Family, LinkOperation> {
  const routes = new Map<Family, LinkOperation>()
  for (const endpoint of endpoints.filter(({ network }) => !network.internal)) {
    for (const address of endpoint.addresses) {
      const subnet = subnetOf(endpoint.network, address)
      if (subnet === undefined || routes.has(address.family)) continue
      const via = formatAddress(subnet.gateway)
      routes.set(address.family, { do: 'route', name: interfaceName(endpoint), via })
    }
  }
  return routes
}

/**
 * A locally administered hardware address that the IPv4 address decides, as Docker's: neighbours that remember the address are right
 * about the next container that gets it. Without IPv4, the IPv6 address does.
 */
export function macOf(address: Address = { family: 4, value: 0n }): string {
  const { family, value } = address
  const tail = family === 4 ? value : BigInt.asUintN(32, value ^ (value >> 32n))
  const bytes = [0x02, 0x42, ...[24n, 16n, 8n, 0n].map((shift) => Number((tail >> shift) & 0xffn))]
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

function hostLinks({ network, mac }: Endpoint, name: string, peer: string): LinkOperation[] {
  const mtu = network.mtu !== undefined && { mtu: network.mtu }
  if (network.driver === 'macvlan') {
    const parent = network.parent ?? ''
    return [{ do: 'add', name: peer, kind: 'macvlan', parent, mode: 'bridge', mac, ...mtu }]
  }
  return [
    // One that a crash left would be in the way.
    { do: 'delete', name },
    { do: 'add', name, kind: 'veth', peer, peerMac: mac, ...mtu },
    {
      do: 'set',
      name,
      master: bridgeName(network.id),
      // Back to where it came from: a container that asks for its own published port.
      hairpin: true,
      ...(!network.interContainer && { isolated: true }),
      up: true,
    },
  ]
}

function subnetOf({ subnets }: NetworkRecord, { family }: Address) {
  return subnets.find(({ prefix }) => prefix.family === family)
}
