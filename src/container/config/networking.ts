import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { KeelsonError, keelsonError } from '../../errors.ts'
import type { Networks } from '../../network/networks.ts'
import { attachContainer, type Attaching } from '../../network/endpoint/attach.ts'
import type { Joining } from '../../network/endpoint/join.ts'
import { HOST_GATEWAY, resolversOf } from '../../network/names/names.ts'
import type { PublishedPort } from '../../network/firewall/ports.ts'
import type { NetworkPlaces } from '../../network/places.ts'
import type { OwnNetwork } from './etc-files.ts'
import type { NormalizedContainer } from '../normalize/normalize.ts'

/** What of an engine's networks its containers need. */
export interface NetworkingContext {
  networks: Networks
  places: NetworkPlaces
}

/** A container as its networks know it. */
export interface NetworkedContainer {
  id: string
  /** Absent: a run's. */
  name?: string
  hostname: string
  /** Directory whose end means that nobody will start it any more. */
  owner: string
}

/**
 * Claims what a container that is about to start has on its networks; nothing where it is on none. Only when everything else has been
 * checked: it has to be given back when there is no start.
 */
export async function attachNetworks(
  { networks, places }: NetworkingContext,
  container: NetworkedContainer,
  options: Pick<NormalizedContainer, 'network' | 'ports' | 'dns' | 'extraHosts'>,
): Promise<Attaching | undefined> {
  const { network, ports } = options
  if (!Array.isArray(network)) return undefined
  const attachments = await Promise.all(
    network.map(async ({ network: name, ...rest }) => ({
      ...rest,
      network: await networks.get(name),
    })),
  )
  if (wantsGateway(options) && attachments.every((each) => each.network.gateways.length === 0)) {
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      'The option extraHosts asks for host-gateway, and the host is on none of the networks.',
      { option: 'extraHosts', hint: 'Add a network of the driver bridge, or give an address.' },
    )
  }
  return await attachContainer(
    places,
    joining(container),
    attachments,
    ports,
    resolversFor(options),
  )
}

export function joining({ id, name, hostname, owner }: NetworkedContainer): Joining {
  return { id, owner, names: [...(name === undefined ? [] : [name]), hostname, id.slice(0, 12)] }
}

/** Who is asked for names that are not of its networks. */
export function resolversFor({ dns }: Pick<NormalizedContainer, 'dns'>): readonly string[] {
  return dns ?? hostResolvers()
}

function wantsGateway({ extraHosts }: Pick<NormalizedContainer, 'extraHosts'>): boolean {
  return extraHosts.some(({ address }) => address === HOST_GATEWAY)
}

/** Asked from the host, so those on its loopback (systemd-resolved's, dnsmasq) count like any other. */
function hostResolvers(): string[] {
  try {
    return resolversOf(readFileSync('/etc/resolv.conf', 'utf8'), scopeOf)
  } catch {
    return []
  }
}

function scopeOf(link: string): number | undefined {
  const addresses = networkInterfaces()[link] ?? []
  return addresses.find(({ family }) => family === 'IPv6')?.scopeid
}

/** What the files of a container tell of its networks. */
export function ownNetwork(attaching: Attaching | undefined): OwnNetwork {
  return {
    addresses: attaching?.attached.endpoints.flatMap(({ addresses }) => addresses) ?? [],
    gateways: attaching?.gateways ?? [],
  }
}

const ATTEMPTS = 16

/** Whether the start failed for a port that was chosen, so that it is worth another. */
export function lostPort(
  error: unknown,
  ports: readonly PublishedPort[],
  attempt: number,
): boolean {
  if (!KeelsonError.is(error) || error.code !== 'KEELSON_PORT_IN_USE') return false
  const asked = ports.some(({ host }) => host === (error as { port?: unknown }).port)
  return !asked && attempt < ATTEMPTS
}
