import { KeelsonError } from '../errors.ts'
import type { Networks } from '../network/networks.ts'
import { attachContainer, type Attached } from '../network/attach.ts'
import type { PublishedPort } from '../network/ports.ts'
import type { NetworkPlaces } from '../network/places.ts'
import type { NormalizedContainer } from './normalize.ts'

/** What of an engine's networks its containers need. */
export interface NetworkingContext {
  networks: Networks
  places: NetworkPlaces
}

/**
 * Claims what a container that is about to start has on its networks; nothing where it is on none. Only when everything else has been
 * checked: it has to be given back when there is no start.
 *
 * @param owner directory whose end means that nobody will start it any more
 */
export async function attachNetworks(
  { networks, places }: NetworkingContext,
  container: { id: string; name?: string; hostname: string; owner: string },
  { network, ports }: Pick<NormalizedContainer, 'network' | 'ports'>,
): Promise<Attached | undefined> {
  if (!Array.isArray(network)) return undefined
  const attachments = await Promise.all(
    network.map(async ({ network: name, ...rest }) => ({
      ...rest,
      network: await networks.get(name),
    })),
  )
  const { id, name, hostname, owner } = container
  const names = [id, id.slice(0, 12), hostname, ...(name === undefined ? [] : [name])]
  return await attachContainer(places, { id, owner }, names, attachments, ports)
}

/** Its own, of all its networks. */
export function addressesOf(attached: Attached | undefined): string[] {
  return attached?.endpoints.flatMap(({ addresses }) => addresses) ?? []
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
