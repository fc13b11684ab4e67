/** On which networks a container is, and what it publishes. */
import { Network } from '../../network/network.ts'
import { parseAddress } from '../../network/addresses/address.ts'
import { DEFAULT_NETWORK } from '../../network/networks.ts'
import { normalizePorts, type PublishedPort } from '../../network/firewall/ports.ts'
import type { ContainerOptions, NetworkAttachment } from '../options/options.ts'
import { sharedWith, type NormalizedShare, type SharedWith } from '../namespaces/options.ts'
import { invalid, list, text, words } from './values.ts'

/** {@link NetworkAttachment} in one form. */
export interface NormalizedAttachment {
  /** Name or id. */
  network: string
  aliases: string[]
  ip?: string
  ip6?: string
  mac?: string
  priority: number
}

const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i
const NAME = /^[a-z0-9](?:[a-z0-9_.-]{0,253}[a-z0-9])?$/i

/** @throws `KEELSON_INVALID_OPTION` */
export function networking({ networks, ports }: ContainerOptions): {
  network: 'none' | 'host' | NormalizedShare | NormalizedAttachment[]
  ports: PublishedPort[]
} {
  const published = normalizePorts(list('ports', ports))
  const shared = sharedWith('networks', networks)
  if (shared !== undefined) {
    if (published.length === 0) return { network: shared, ports: [] }
    throw invalid(
      'ports',
      'belongs to the container whose network is joined',
      'Publish them with that one.',
    )
  }
  const network = attachments(
    networks as Exclude<typeof networks, SharedWith>,
    published.length > 0,
  )
  if (published.length > 0 && (typeof network === 'string' || network.length === 0)) {
    throw invalid(
      'ports',
      `needs a network, and networks is ${network === 'host' ? 'host' : 'none'}`,
      network === 'host'
        ? "A program on the host's network is reached at its own ports."
        : 'Leave networks out, or name one.',
    )
  }
  return { network, ports: published }
}

function attachments(
  networks: Exclude<ContainerOptions['networks'], SharedWith>,
  needed: boolean,
): 'none' | 'host' | NormalizedAttachment[] {
  if (networks === undefined) return needed ? [attachment(DEFAULT_NETWORK)] : 'none'
  if (networks === 'none' || networks === 'host') return networks
  // None so far is not never any.
  const all = (Array.isArray(networks) ? networks : [networks]).map(attachment)
  const names = all.map(({ network }) => network)
  const twice = names.find((name, n) => names.indexOf(name) !== n)
  if (twice !== undefined) throw invalid('networks', `names ${twice} twice`)
  return all
}

/** @throws `KEELSON_INVALID_OPTION` */
export function attachment(given: string | NetworkAttachment): NormalizedAttachment {
  const options = typeof given === 'string' ? { network: given } : given
  if (typeof options !== 'object' || options === null) {
    throw invalid('networks', 'must hold names of networks, or objects')
  }
  const { network, ip, ip6, mac, priority = 0 } = options
  const aliases = words('networks.aliases', options.aliases) ?? []
  const name = network instanceof Network ? network.name : text('networks', network)
  if (name === '') throw invalid('networks', 'names no network')
  if (name === 'none' || name === 'host') {
    throw invalid('networks', `cannot join ${name} with others`, `Write networks: '${name}'.`)
  }
  for (const alias of aliases) {
    if (!NAME.test(alias)) {
      throw invalid('networks.aliases', `holds no host name: ${JSON.stringify(alias)}`)
    }
  }
  for (const [option, address, family] of [
    ['networks.ip', ip, 4],
    ['networks.ip6', ip6, 6],
  ] as const) {
    if (address !== undefined && parseAddress(text(option, address))?.family !== family) {
      throw invalid(option, `is no address of IPv${family}: ${JSON.stringify(address)}`)
    }
  }
  if (mac !== undefined && !MAC.test(text('networks.mac', mac))) {
    throw invalid('networks.mac', `is no hardware address: ${JSON.stringify(mac)}`)
  }
  if (!Number.isFinite(priority)) throw invalid('networks.priority', 'must be a number')
  return {
    network: name,
    aliases,
    ...(ip !== undefined && { ip }),
    ...(ip6 !== undefined && { ip6 }),
    ...(mac !== undefined && { mac }),
    priority,
  }
}
