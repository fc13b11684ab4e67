/** A network on the host, as operations. Pure. */
import { formatAddress } from '../addresses/address.ts'
import { hostMac } from '../endpoint/endpoint.ts'
import { bridgeElements, type BridgeElement } from './firewall.ts'
import type { FirewallCommand, LinkOperation } from '../../runtime/network-protocol.ts'
import { bridgeName, type NetworkRecord } from '../record.ts'

/** The bridge with the gateways' addresses. Repeated, it changes nothing. */
export function planBridge(record: NetworkRecord): LinkOperation[] {
  const name = bridgeName(record.id)
  return [
    {
      do: 'add',
      name,
      kind: 'bridge',
      mac: hostMac(record),
      ...(record.mtu !== undefined && { mtu: record.mtu }),
    },
    // A port published on the host's loopback is forwarded by address, which the kernel refuses without it.
    { do: 'sysctl', path: `net/ipv4/conf/${name}/route_localnet`, value: '1' },
    // Our addresses are claimed; waiting for duplicates would delay the first packets by a second.
    { do: 'sysctl', path: `net/ipv6/conf/${name}/accept_dad`, value: '0' },
    ...record.subnets.map(({ prefix, gateway }): LinkOperation => {
      return { do: 'address', name, address: formatAddress(gateway), prefix: prefix.length }
    }),
    { do: 'set', name, up: true },
    ...(record.internal ? [] : forwarding(record)),
  ]
}

/** What the firewall's sets hold of the network. */
export function planBridgeRules(
  record: NetworkRecord,
  command: 'add' | 'delete',
): FirewallCommand[] {
  const element: BridgeElement = {
    bridge: bridgeName(record.id),
    internal: record.internal,
    masquerade: record.internal
      ? []
      : record.subnets.map(({ prefix }) => {
          return { family: prefix.family, prefix: formatAddress(prefix), length: prefix.length }
        }),
  }
  return bridgeElements(command, element)
}

function forwarding({ subnets }: NetworkRecord): LinkOperation[] {
  return [...new Set(subnets.map(({ prefix }) => prefix.family))].map((family) => {
    return family === 4
      ? { do: 'sysctl', path: 'net/ipv4/ip_forward', value: '1' }
      : { do: 'sysctl', path: 'net/ipv6/conf/all/forwarding', value: '1' }
  })
}
