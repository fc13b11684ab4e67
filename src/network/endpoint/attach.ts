import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { keelsonError } from '../../errors.ts'
import type { NetworkPlan } from '../../runtime/network-protocol.ts'
import { formatAddress, parseAddress, type Address } from '../addresses/address.ts'
import { linkName, macOf, planEndpoint } from './endpoint.ts'
import { portElements } from '../firewall/firewall.ts'
import { claimAddress } from '../addresses/ipam.ts'
import { claimNames } from '../names/name-files.ts'
import { planNames } from '../names/names.ts'
import type { Network } from '../network.ts'
import type { NetworkPlaces } from '../places.ts'
import { planPorts, type PublishedPort } from '../firewall/ports.ts'

/** A container's wish to be on a network. */
export interface Attachment {
  network: Network
  /** More names for it there. */
  aliases: string[]
  ip?: string
  ip6?: string
  mac?: string
  /** The way to everything else goes by the network with the highest. Default 0. */
  priority?: number
}

/** What a container is on its networks: for its configuration, its inspection and its files. */
export interface Attached {
  plan: NetworkPlan
  endpoints: {
    network: string
    name: string
    addresses: string[]
    mac: string
    interface: string
  }[]
  /** With the numbers of those that were to be free ones. */
  ports: PublishedPort[]
  /** The host's addresses on the first network that the host is on. */
  gateways: string[]
}

/** Where free ports are looked for: not where the kernel takes those of outgoing connections. */
const FREE_PORTS = [20_000, 32_768] as const

/**
 * Brings a container's networks about and claims its addresses and names there. What it claimed is removed with the container by the
 * plan's `remove`; on failure nothing stays claimed.
 *
 * @param container `owner`: a directory; when neither it nor the container's own is there any more, the claims are nobody's
 * @param names what it is called on every network; the first is what its addresses are said to be
 * @param resolvers who is asked for names that are not of its networks
 * @throws `KEELSON_ADDRESS_IN_USE`, `KEELSON_NO_ADDRESS`, `KEELSON_INVALID_OPTION`
 */
export async function attachContainer(
  places: NetworkPlaces,
  container: { id: string; owner: string },
  names: readonly string[],
  attachments: readonly Attachment[],
  published: readonly PublishedPort[],
  resolvers: readonly string[],
): Promise<Attached> {
  // Addresses last: as long as it has one, it is known that there is something to give back.
  const claims: Claims = { addresses: [], others: [] }
  const remove = () => [...claims.others, ...claims.addresses]
  try {
    const ordered = attachments.toSorted((a, b) => (b.priority ?? 0) - (a.priority ?? 0))
    const joined = []
    for (const [index, attachment] of ordered.entries()) {
      joined.push(await joinNetwork(places, container, names, attachment, index, claims))
    }
    const ports = published.map((port) => (port.host === 0 ? { ...port, host: freePort() } : port))
    // Forwarded to where it is reached by default.
    const { reserve, elements } = planPorts(ports, joined[0]?.addresses ?? [])
    // What is kept from the world must not tell it names either.
    const upstream = ordered.every(({ network }) => network.record.internal) ? [] : resolvers
    const directories = ordered.map(({ network }) => places.names(network.id))
    const { names: service, inside } = planNames(directories, upstream)
    const firewall = {
      start: portElements('add', elements),
      end: portElements('delete', elements),
      inside,
    }
    const first = ordered[0]?.network
    if (first !== undefined && elements.length > 0) {
      // For whoever cleans up after a crash.
      const directory = places.undo(first.id)
      await mkdir(directory, { recursive: true, mode: 0o700 })
      const file = join(directory, container.id)
      claims.others.push(file)
      await writeFile(file, JSON.stringify(firewall.end), { mode: 0o600 })
    }
    return {
      plan: {
        host: joined.flatMap(({ links }) => links.host),
        inside: joined.flatMap(({ links }) => links.inside),
        firewall,
        ports: reserve,
        names: service,
        remove: remove(),
      },
      endpoints: joined.map(({ endpoint }) => endpoint),
      ports,
      gateways: ordered.find(({ network }) => network.gateways.length > 0)?.network.gateways ?? [],
    }
  } catch (error) {
    await giveBack(remove())
    throw error
  }
}

/** Files that are a container's. */
export interface Claims {
  addresses: string[]
  others: string[]
}

/** Claims addresses and names on one network, and plans the links; what it claimed is in `claims` whatever becomes of it. */
export async function joinNetwork(
  places: NetworkPlaces,
  container: { id: string; owner: string },
  names: readonly string[],
  attachment: Attachment,
  index: number,
  claims: Claims,
) {
  const { network, aliases } = attachment
  await network.ready()
  const addresses: Address[] = []
  try {
    for (const subnet of network.record.subnets) {
      const wanted = wantedAddress(attachment, subnet.prefix.family)
      const directory = places.addresses(network.id)
      const { address, file } = await claimAddress(directory, subnet, container, wanted)
      claims.addresses.push(file)
      addresses.push(address)
    }
    const own = claimNames(places, network.id, container.id, [...names, ...aliases], addresses)
    claims.others.push(...own)
  } finally {
    // With an address it is not removed any more; it may have been before.
    await network.ready()
  }
  const texts = addresses.map(formatAddress)
  const mac = attachment.mac ?? macOf(addresses[0] ?? { family: 4, value: 0n })
  const links = planEndpoint({
    network: network.record,
    container: container.id,
    addresses,
    mac,
    index,
    defaultRoute: index === 0,
  })
  const endpoint = {
    network: network.id,
    name: network.name,
    addresses: texts,
    mac,
    interface: linkName(network.id, container.id),
  }
  return { addresses, links, endpoint }
}

/** What a plan's `remove` names. */
export async function giveBack(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await (path.endsWith('/') ? rmdir(path).catch(() => {}) : rm(path, { force: true }))
  }
}

function wantedAddress({ ip, ip6 }: Attachment, family: 4 | 6): Address | undefined {
  const text = family === 4 ? ip : ip6
  if (text === undefined) return undefined
  const address = parseAddress(text)
  if (address?.family === family) return address
  throw keelsonError('KEELSON_INVALID_OPTION', `The address ${text} is not one of IPv${family}.`, {
    option: family === 4 ? 'ip' : 'ip6',
  })
}

/** Whether it is free the start finds out, by reserving it; then another is tried. */
function freePort(): number {
  return randomInt(...FREE_PORTS)
}
