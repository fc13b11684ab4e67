/** All networks of a container, as the plan of its start; and what changes between two of them. Pure. */
import { join } from 'node:path'
import type { LinkOperation, NetworkChange, NetworkPlan } from '../../runtime/network-protocol.ts'
import { portElements } from '../firewall/firewall.ts'
import { planPorts, type PublishedPort } from '../firewall/ports.ts'
import { planNames } from '../names/names.ts'
import type { NetworkPlaces } from '../places.ts'
import { planEndpoint, planRemoval, planRoutes, type Endpoint } from './endpoint.ts'

/** An endpoint with what was claimed for it. */
export interface JoinedEndpoint extends Endpoint {
  aliases: readonly string[]
  claims: Claims
}

/** Files that are a container's; what ends in `/` is a directory that may be others', too. */
export interface Claims {
  addresses: string[]
  names: string[]
}

export interface Networking {
  container: string
  /** In order of preference. */
  endpoints: readonly JoinedEndpoint[]
  /** With their numbers. */
  ports: readonly PublishedPort[]
  /** Who is asked for names that are not of its networks. */
  resolvers: readonly string[]
}

/** Where it is written how to take the ports away, for whoever cleans up after a crash. */
export interface UndoFile {
  path: string
  text: string
}

export function planNetworks(
  places: NetworkPlaces,
  networking: Networking,
): { plan: NetworkPlan; undo: UndoFile | undefined } {
  const { endpoints, ports, resolvers } = networking
  const publishing = publishingEndpoint(endpoints)
  const internal = publishing?.network.internal ?? false
  const { reserve, elements } = planPorts(ports, publishing?.addresses ?? [], internal)
  // What is kept from the world must not tell it names either.
  const upstream = endpoints.every(({ network }) => network.internal) ? [] : resolvers
  const { names, inside } = planNames({
    container: networking.container,
    directories: endpoints.map(({ network }) => places.names(network.id)),
    resolvers: endpoints.map(({ network }) => places.resolvers(network.id)),
    upstream,
  })
  const end = portElements('delete', elements)
  const undo =
    publishing && elements.length > 0
      ? {
          path: join(places.undo(publishing.network.id), networking.container),
          text: JSON.stringify(end),
        }
      : undefined
  const links = endpoints.map(planEndpoint)
  return {
    plan: {
      host: links.flatMap(({ host }) => host),
      inside: [...links.flatMap((each) => each.inside), ...planRoutes(endpoints).values()],
      firewall: { start: portElements('add', elements), end, inside },
      ports: reserve,
      names,
      // Addresses last: as long as it has one, it is known that there is something to give back.
      remove: [
        ...endpoints.flatMap(({ claims }) => claims.names),
        ...(undo === undefined ? [] : [undo.path]),
        ...endpoints.flatMap(({ claims }) => claims.addresses),
      ],
    },
    undo,
  }
}

/** From the networks that a running container is on to others. The ports that it holds stay the same. */
export function planChange(
  places: NetworkPlaces,
  before: Networking,
  after: Networking,
): Omit<NetworkChange, 'files'> & { undoFile: UndoFile | undefined } {
  const was = planNetworks(places, before)
  const will = planNetworks(places, after)
  const left = before.endpoints.filter((each) => !isOn(after, each))
  const joined = after.endpoints.filter((each) => !isOn(before, each))
  const [links, removals] = [joined.map(planEndpoint), left.map(planRemoval)]
  const withdrawn = joined.map(planRemoval)
  return {
    plan: { ...will.plan, ports: heldPorts(was.plan.ports, will.plan.ports) },
    host: [...removals, ...links].flatMap(({ host }) => host),
    inside: [
      ...[...removals, ...links].flatMap(({ inside }) => inside),
      ...changedRoutes(before.endpoints, after.endpoints),
    ],
    undo: {
      host: withdrawn.flatMap(({ host }) => host),
      inside: [
        ...withdrawn.flatMap(({ inside }) => inside),
        ...changedRoutes(after.endpoints, before.endpoints),
      ],
    },
    firewall: sameRules(was.plan, will.plan)
      ? []
      : [...was.plan.firewall.end, ...will.plan.firewall.start],
    release: [
      ...left.flatMap(({ claims }) => claims.names),
      ...(was.undo !== undefined && was.undo.path !== will.undo?.path ? [was.undo.path] : []),
      ...left.flatMap(({ claims }) => claims.addresses),
    ],
    undoFile: will.undo,
  }
}

/** Those that were reserved at its start, each passed on to where it leads now. */
function heldPorts(was: NetworkPlan['ports'], will: NetworkPlan['ports']): NetworkPlan['ports'] {
  return was.map(({ protocol, address, port, optional }) => {
    const now = will.find(
      (each) => each.protocol === protocol && each.address === address && each.port === port,
    )
    return {
      protocol,
      address,
      port,
      ...(optional && { optional }),
      ...(now?.relay && { relay: now.relay }),
    }
  })
}

/** The network by which its ports are reached: the first that has a way in. */
export function publishingEndpoint<Each extends Endpoint>(
  endpoints: readonly Each[],
): Each | undefined {
  const open = endpoints.find(({ network }) => network.driver === 'bridge' && !network.internal)
  return open ?? endpoints[0]
}

function isOn({ endpoints }: Networking, { network }: Endpoint): boolean {
  return endpoints.some((each) => each.network.id === network.id)
}

/** With the link of the way that was, its route has gone. */
function changedRoutes(before: readonly Endpoint[], after: readonly Endpoint[]): LinkOperation[] {
  const [was, will] = [planRoutes(before), planRoutes(after)]
  return [...will].flatMap(([family, route]) => {
    if (JSON.stringify(was.get(family)) === JSON.stringify(route)) return []
    return [{ ...route, replace: true } as LinkOperation]
  })
}

function sameRules(was: NetworkPlan, will: NetworkPlan): boolean {
  return JSON.stringify(was.firewall.start) === JSON.stringify(will.firewall.start)
}
