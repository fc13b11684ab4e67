import { mkdir, writeFile } from 'node:fs/promises'
import { randomInt } from 'node:crypto'
import { dirname } from 'node:path'
import type { NetworkPlan } from '../../runtime/network-protocol.ts'
import type { PublishedPort } from '../firewall/ports.ts'
import type { NetworkPlaces } from '../places.ts'
import { attachedEndpoint, type Attached } from './attached.ts'
import { giveBack, joinNetwork, type Attachment, type Joining } from './join.ts'
import { planNetworks, type JoinedEndpoint } from './plan.ts'

/** What a container is on its networks: for its configuration, its inspection and its files. */
export interface Attaching {
  plan: NetworkPlan
  attached: Attached
  /** The host's addresses on the first network that the host is on. */
  gateways: string[]
}

/** Where free ports are looked for: not where the kernel takes those of outgoing connections. */
const FREE_PORTS = [20_000, 32_768] as const

/**
 * Brings a container's networks about and claims its addresses and names there. What it claimed is removed with the container by the
 * plan's `remove`; on failure nothing stays claimed.
 *
 * @param resolvers who is asked for names that are not of its networks
 * @throws `KEELSON_ADDRESS_IN_USE`, `KEELSON_NO_ADDRESS`, `KEELSON_INVALID_OPTION`
 */
export async function attachContainer(
  places: NetworkPlaces,
  container: Joining,
  attachments: readonly Attachment[],
  published: readonly PublishedPort[],
  resolvers: readonly string[],
): Promise<Attaching> {
  const ordered = attachments.toSorted((a, b) => (b.priority ?? 0) - (a.priority ?? 0))
  const endpoints: JoinedEndpoint[] = []
  let remove: string[] = []
  try {
    for (const [index, attachment] of ordered.entries()) {
      endpoints.push(await joinNetwork(places, container, attachment, index))
      remove = endpoints.flatMap(({ claims }) => [...claims.names, ...claims.addresses])
    }
    const ports = published.map((port) => (port.host === 0 ? { ...port, host: freePort() } : port))
    const { plan, undo } = planNetworks(places, {
      container: container.id,
      endpoints,
      ports,
      resolvers,
    })
    remove = plan.remove
    if (undo !== undefined) {
      await mkdir(dirname(undo.path), { recursive: true, mode: 0o700 })
      await writeFile(undo.path, undo.text, { mode: 0o600 })
    }
    return {
      plan,
      attached: {
        endpoints: endpoints.map(attachedEndpoint),
        ports,
        nextIndex: endpoints.length,
      },
      gateways: ordered.find(({ network }) => network.gateways.length > 0)?.network.gateways ?? [],
    }
  } catch (error) {
    await giveBack(remove)
    throw error
  }
}

/** Whether it is free the start finds out, by reserving it; then another is tried. */
function freePort(): number {
  return randomInt(...FREE_PORTS)
}
