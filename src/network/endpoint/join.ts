import { rm, rmdir } from 'node:fs/promises'
import { keelsonError } from '../../errors.ts'
import { formatPrefix, parseAddress, type Address } from '../addresses/address.ts'
import { checkWanted, claimAddress } from '../addresses/ipam.ts'
import { claimNames } from '../names/name-files.ts'
import type { Network } from '../network.ts'
import type { NetworkPlaces } from '../places.ts'
import type { NetworkRecord } from '../record.ts'
import { macOf } from './endpoint.ts'
import type { JoinedEndpoint } from './plan.ts'

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

/** Who joins. `owner`: a directory; when neither it nor the container's own is there any more, the claims are nobody's. */
export interface Joining {
  id: string
  owner: string
  /** What it is called on every network; the first is what its addresses are said to be. */
  names: readonly string[]
}

/**
 * Claims what a container has on one network. On failure nothing stays claimed.
 *
 * @param index of its interface
 * @throws `KEELSON_ADDRESS_IN_USE`, `KEELSON_NO_ADDRESS`, `KEELSON_INVALID_OPTION`, `KEELSON_NETWORK_NOT_FOUND`
 */
export async function joinNetwork(
  places: NetworkPlaces,
  container: Joining,
  attachment: Attachment,
  index: number,
): Promise<JoinedEndpoint> {
  const { network, aliases, priority = 0 } = attachment
  const { record } = network
  const wanted = wantedAddresses(record, attachment)
  await network.ready()
  const addresses: Address[] = []
  const claims = { addresses: [] as string[], names: [] as string[] }
  try {
    try {
      for (const subnet of record.subnets) {
        const directory = places.addresses(record.id)
        const that = wanted.find(({ family }) => family === subnet.prefix.family)
        const claimant = { id: container.id, owner: container.owner, mac: attachment.mac }
        const { address, file } = await claimAddress(directory, subnet, claimant, that)
        claims.addresses.push(file)
        addresses.push(address)
      }
      const names = [...container.names, ...aliases]
      claims.names = claimNames(places, record.id, container.id, names, addresses)
      await network.joined()
    } finally {
      // With an address it is not removed any more; it may have been before.
      await network.ready()
    }
  } catch (error) {
    await giveBack([...claims.names, ...claims.addresses])
    throw error
  }
  const mac = attachment.mac ?? macOf(addresses[0])
  return {
    network: record,
    container: container.id,
    addresses,
    mac,
    index,
    priority,
    aliases,
    claims,
  }
}

/** What `remove` of a plan names. */
export async function giveBack(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await (path.endsWith('/') ? rmdir(path).catch(() => {}) : rm(path, { force: true }))
  }
}

/**
 * The addresses that are asked for by name.
 *
 * @throws `KEELSON_INVALID_OPTION` for one that no container of the network can have
 */
export function wantedAddresses(
  { name, subnets }: Pick<NetworkRecord, 'name' | 'subnets'>,
  { ip, ip6 }: Pick<Attachment, 'ip' | 'ip6'>,
): Address[] {
  const asked = [
    { option: 'ip', family: 4, text: ip },
    { option: 'ip6', family: 6, text: ip6 },
  ]
  return asked.flatMap(({ option, family, text }) => {
    if (text === undefined) return []
    const address = parseAddress(text)
    if (address?.family !== family) {
      throw invalid(option, `The address ${text} is not one of IPv${family}.`)
    }
    const subnet = subnets.find(({ prefix }) => prefix.family === family)
    if (subnet === undefined) {
      throw invalid(
        option,
        `The network ${name} has no subnet of IPv${family} that ${text} could be of.`,
        `Its subnets are ${subnets.map(({ prefix }) => formatPrefix(prefix)).join(', ')}.`,
      )
    }
    checkWanted(subnet, address)
    return [address]
  })
}

function invalid(option: string, message: string, hint?: string) {
  return keelsonError('KEELSON_INVALID_OPTION', message, { option, hint })
}
