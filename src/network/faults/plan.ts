/** Faults, and where everybody is -> elements of sets, and pipes through the helper. Pure. */
import { isIPv6 } from 'node:net'
import type { FaultPipe, FaultStage } from '../../runtime/network-protocol.ts'
import type { FaultPlan, Station } from './fault.ts'
import type { Place } from './members.ts'
import type { FaultElements } from './rules.ts'

/** Connections to end, between two members, as the packets of the first name them. */
export interface Reset {
  pair: [Station, Station]
  connections: FaultPipe['resets']
}

export interface PlannedFaults {
  elements: FaultElements
  pipes: FaultPipe[]
}

/**
 * @param viaOf the hardware address by which packets from one to another come to the helper: always the same, and nobody else's
 */
export function planFaults(
  faults: readonly FaultPlan[],
  places: ReadonlyMap<Station, Place>,
  viaOf: (from: Station, to: Station) => string,
  resets: readonly Reset[] = [],
): PlannedFaults {
  const elements: FaultElements = {
    ports: [],
    macs: [],
    host: [],
    addresses4: [],
    addresses6: [],
    refusedPorts: [],
    refusedHost: [],
    pipes: [],
    hostPipes: [],
  }
  const pipes: FaultPipe[] = []
  for (const [from, to] of directions(faults, resets)) {
    const [source, destination] = [places.get(from), places.get(to)]
    if (source === undefined || destination === undefined) continue
    const own = faults.filter((fault) => concerns(fault, from, to))
    const partitions = own.filter((fault) => fault.kind === 'partition')
    const cut = partitions.some(({ reject }) => !reject)
    const reject = !cut && partitions.length > 0
    if (cut) addCut(elements, source, destination)
    if (reject) addRefusal(elements, source, destination)
    const connections = resetsOf(resets, from, to)
    const stages = own.flatMap(stageOf)
    // What is cut off need not come here; but what is to be reset must.
    const needed = cut ? connections.length > 0 : reject || stages.length + connections.length > 0
    if (!needed || source.mac === undefined || destination.mac === undefined) continue
    const via = viaOf(from, to)
    pipes.push({
      via,
      from: source.mac,
      to: destination.mac,
      reject,
      stages,
      resets: connections,
    })
    if (source.link === undefined) elements.hostPipes.push([destination.mac, via])
    else elements.pipes.push([source.link, destination.mac, via])
  }
  return { elements, pipes }
}

/** Ordered pairs that anything is said of. */
function directions(faults: readonly FaultPlan[], resets: readonly Reset[]): [Station, Station][] {
  const pairs = [...faults.flatMap((fault) => fault.pairs), ...resets.map(({ pair }) => pair)]
  const both = pairs.flatMap(([a, b]): [Station, Station][] => [
    [a, b],
    [b, a],
  ])
  return [...new Map(both.map((pair) => [pair.join(' '), pair])).values()]
}

function concerns(fault: FaultPlan, from: Station, to: Station): boolean {
  const direction = fault.kind === 'link' ? fault.direction : 'both'
  return fault.pairs.some(
    ([a, b]) =>
      (a === from && b === to && direction !== 'backward') ||
      (b === from && a === to && direction !== 'forward'),
  )
}

/** What of it packets go through. */
export function stageOf(fault: FaultPlan): FaultStage[] {
  if (fault.kind !== 'link') return []
  const { id, latency, jitter, loss, rate } = fault
  if (latency === 0 && loss === 0 && rate === undefined) return []
  return [{ id, latency, jitter, loss, ...(rate !== undefined && { rate }) }]
}

function addCut(elements: FaultElements, from: Place, to: Place): void {
  const link = from.link ?? to.link
  if (from.link !== undefined && to.link !== undefined) {
    elements.ports.push([from.link, to.link])
    for (const source of from.addresses) {
      for (const destination of to.addresses) {
        if (isIPv6(source) !== isIPv6(destination)) continue
        elements[isIPv6(source) ? 'addresses6' : 'addresses4'].push([source, destination])
      }
    }
  } else if (link !== undefined) elements.host.push(link)
  if (from.mac !== undefined && to.mac !== undefined) elements.macs.push([from.mac, to.mac])
}

function addRefusal(elements: FaultElements, from: Place, to: Place): void {
  const link = from.link ?? to.link
  if (from.link !== undefined && to.link !== undefined) {
    elements.refusedPorts.push([from.link, to.link])
  } else if (link !== undefined) elements.refusedHost.push(link)
}

function resetsOf(resets: readonly Reset[], from: Station, to: Station): FaultPipe['resets'] {
  return resets.flatMap(({ pair: [a, b], connections }) => {
    if (a === from && b === to) return connections
    if (a !== to || b !== from) return []
    return connections.map(([source, sourcePort, destination, destinationPort]) => {
      return [destination, destinationPort, source, sourcePort] as FaultPipe['resets'][0]
    })
  })
}
