/** Whom a fault is about: what a person names -> containers of the network, and where each of them is on it now. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { keelsonError } from '../../errors.ts'
import { show } from '../../util/printable.ts'
import { contains, formatAddress } from '../addresses/address.ts'
import { claimedAddresses } from '../addresses/ipam.ts'
import { hostMac, linkName, macOf } from '../endpoint/endpoint.ts'
import type { NetworkPlaces } from '../places.ts'
import type { NetworkRecord } from '../record.ts'
import type { Station } from './fault.ts'

/**
 * A member of a network: a container, or its name, id, alias or host name there; `host` is the host with all that is reached through it, as
 * other networks and the world.
 */
export type FaultMember = string | { readonly id: string }

/** What is known of a container that may be on networks. */
export interface KnownContainer {
  id: string
  name: string
  /** The first process in its network namespace; 0: it does not run. */
  pid: number
  /** Names or ids of those that it is on when it runs. */
  networks: string[]
}

/** Finds a container by name or id. @throws `KEELSON_CONTAINER_NOT_FOUND`, `KEELSON_CONTAINER_AMBIGUOUS` */
export type FindContainer = (reference: string) => Promise<KnownContainer>

/** Where a member is. */
export interface Place {
  /** The host's end of its link. The host itself has none. */
  link?: string
  /** Absent while it does not run. */
  mac?: string
  addresses: string[]
}

/** In the place of a container's id, as in the network's names. */
export const HOST: Station = 'host'

/** Who `member` is; several where an alias is that of several. @throws {@link FindContainer}'s, `KEELSON_NETWORK_NOT_CONNECTED` */
export async function findMembers(
  context: { places: NetworkPlaces; container: FindContainer },
  record: NetworkRecord,
  member: FaultMember,
): Promise<Station[]> {
  const text = typeof member === 'string' ? member : member?.id
  if (typeof text !== 'string' || text === '') {
    throw keelsonError('KEELSON_INVALID_OPTION', `There is no member ${show(member)}.`, {
      option: 'member',
      hint: "Give a container, its name or an alias of it, or 'host'.",
    })
  }
  if (text === HOST) return [HOST]
  const { places, container } = context
  if (typeof member === 'string' && /^[\w.-]+$/.test(text) && !/^\.+$/.test(text)) {
    const named = await readdir(join(places.names(record.id), text.toLowerCase())).catch(() => [])
    if (named.length > 0) return named
  }
  const claims = await claimedAddresses(places.addresses(record.id))
  const present = claims.find((claim) => claim.container === text)
  if (present !== undefined) return [present.container]
  const { id, name, networks } = await container(text)
  const isOn = networks.includes(record.name) || networks.includes(record.id)
  if (isOn || claims.some((claim) => claim.container === id)) return [id]
  throw keelsonError(
    'KEELSON_NETWORK_NOT_CONNECTED',
    `The container ${name} is not on the network ${record.name}.`,
    {
      container: id,
      network: record.name,
      hint: 'network.inspect() shows who is; where it has joined the network of another container, name that.',
    },
  )
}

/** Where the host and all that have an address are; others come by and by. */
export async function readPlaces(
  places: NetworkPlaces,
  record: NetworkRecord,
  stations: Iterable<Station>,
): Promise<Map<Station, Place>> {
  const claims = await claimedAddresses(places.addresses(record.id))
  const found = new Map<Station, Place>([
    [
      HOST,
      {
        mac: hostMac(record),
        addresses: record.subnets.map(({ gateway }) => formatAddress(gateway)),
      },
    ],
  ])
  for (const station of stations) {
    if (station === HOST) continue
    const own = claims.filter(({ container }) => container === station)
    // In this order, so that the first is the one by which its hardware address was chosen.
    const ordered = record.subnets.flatMap(({ prefix }) =>
      own.filter(({ address }) => contains(prefix, address)),
    )
    found.set(station, {
      link: linkName(record.id, station),
      ...(ordered[0] !== undefined && { mac: ordered[0].mac ?? macOf(ordered[0].address) }),
      addresses: ordered.map(({ address }) => formatAddress(address)),
    })
  }
  return found
}
