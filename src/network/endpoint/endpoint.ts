/** A container's place in one network, as operations. Pure. */
import { createHash } from 'node:crypto'
import { formatAddress, type Address } from '../addresses/address.ts'
import type { LinkOperation } from '../../runtime/network-protocol.ts'
import { bridgeName, type NetworkRecord } from '../record.ts'

export interface Endpoint {
  network: NetworkRecord
  container: string
  /** At most one of each family. */
  addresses: Address[]
  mac: string
  /** The container's n-th: `eth<n>`. */
  index: number
  /** It is the way to everything else. */
  defaultRoute: boolean
}

/** Operations on the host, and inside the container's namespace. */
export interface EndpointPlan {
  host: LinkOperation[]
  inside: LinkOperation[]
}

export function planEndpoint(endpoint: Endpoint): EndpointPlan {
  const { network, addresses, index } = endpoint
  const outside = linkName(network.id, endpoint.container)
  // Until it is in its namespace, a name there must not be taken here.
  const temporary = `${outside}p`
  const name = `eth${index}`
  return {
    host: hostLinks(endpoint, outside, temporary),
    inside: [
      { do: 'set', name: temporary, rename: name },
      ...addresses.map((address): LinkOperation => {
        const prefix = subnetOf(network, address)?.prefix.length ?? 32
        return { do: 'address', name, address: formatAddress(address), prefix }
      }),
      { do: 'set', name, up: true },
      ...(endpoint.defaultRoute && !network.internal ? defaultRoutes(endpoint, name) : []),
    ],
  }
}

/** The host's end of a container's link: one name for whoever computes it. */
export function linkName(network: string, container: string): string {
  return `kv${createHash('sha256').update(`${network} ${container}`).digest('hex').slice(0, 11)}`
}

/**
 * A locally administered hardware address that the IPv4 address decides, as Docker's: neighbours that remember the address are right
 * about the next container that gets it. Without IPv4, the IPv6 address does.
 */
export function macOf({ family, value }: Address): string {
  const tail = family === 4 ? value : BigInt.asUintN(32, value ^ (value >> 32n))
  const bytes = [0x02, 0x42, ...[24n, 16n, 8n, 0n].map((shift) => Number((tail >> shift) & 0xffn))]
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

function hostLinks({ network, mac }: Endpoint, name: string, peer: string): LinkOperation[] {
  const mtu = network.mtu !== undefined && { mtu: network.mtu }
  if (network.driver === 'macvlan') {
    const parent = network.parent ?? ''
    return [{ do: 'add', name: peer, kind: 'macvlan', parent, mode: 'bridge', mac }]
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

function defaultRoutes({ network, addresses }: Endpoint, name: string): LinkOperation[] {
  return addresses.flatMap((address) => {
    const subnet = subnetOf(network, address)
    if (subnet === undefined) return []
    return [{ do: 'route', name, via: formatAddress(subnet.gateway) } as const]
  })
}

function subnetOf({ subnets }: NetworkRecord, { family }: Address) {
  return subnets.find(({ prefix }) => prefix.family === family)
}
