import { parseAddress, parsePrefix, type Address } from '../../src/network/addresses/address.ts'
import type { Endpoint } from '../../src/network/endpoint/endpoint.ts'
import type { JoinedEndpoint } from '../../src/network/endpoint/plan.ts'
import { plainSubnet } from '../../src/network/network-options.ts'
import type { NetworkRecord } from '../../src/network/record.ts'

/** A network whose id is made of a letter: `a` has `aaaa...`. */
export function network(letter: string, more: Partial<NetworkRecord> = {}): NetworkRecord {
  return {
    id: letter.repeat(64),
    name: `net-${letter}`,
    driver: 'bridge',
    createdAt: '2026-11-25T00:00:00Z',
    subnets: [plainSubnet(parsePrefix('10.0.0.0/24', 'subnets'))],
    internal: false,
    interContainer: true,
    labels: {},
    ...more,
  }
}

export function subnets(...prefixes: string[]) {
  return prefixes.map((prefix) => plainSubnet(parsePrefix(prefix, 'subnets')))
}

export function address(text: string): Address {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new Error(`no address: ${text}`)
  return parsed
}

export function endpoint(
  record: NetworkRecord,
  addresses: string[],
  more: Partial<Endpoint> = {},
): JoinedEndpoint {
  return {
    network: record,
    container: 'c'.repeat(64),
    addresses: addresses.map(address),
    mac: '02:42:0a:00:00:02',
    index: 0,
    priority: 0,
    aliases: [],
    claims: {
      addresses: addresses.map((each) => `/claims/${each}`),
      names: [`/names/${record.name}`],
    },
    ...more,
  }
}
