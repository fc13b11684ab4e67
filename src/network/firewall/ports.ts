/** Published ports: what a person writes -> one form -> what the helper reserves and the firewall forwards. Pure. */
import { isIP } from 'node:net'
import { keelsonError, type KeelsonError } from '../../errors.ts'
import { show } from '../../util/printable.ts'
import { formatAddress, parseAddress, type Address, type Family } from '../addresses/address.ts'
import type { PortElement } from './firewall.ts'
import type { NetworkPlan } from '../../runtime/network-protocol.ts'

export type PortProtocol = 'tcp' | 'udp' | 'sctp'

/** A port of the container, or a range of them, published on the host. */
export interface PortSpec {
  container: number | [from: number, to: number]
  /** As many as `container` has. Default: free ones. */
  host?: number | [from: number, to: number]
  /** Default: every address of the host. */
  hostIp?: string
  /** Default `tcp`. */
  protocol?: PortProtocol
}

/** One published port. */
export interface PublishedPort {
  container: number
  /** 0: a free one. */
  host: number
  hostIp: string | undefined
  protocol: PortProtocol
}

const PROTOCOLS = ['tcp', 'udp', 'sctp']

/**
 * @param spec an object, a port, or Docker's short string: `[[ip:]host:]container[/protocol]`, with ranges
 * @throws `KEELSON_INVALID_OPTION`
 */
export function normalizePort(spec: PortSpec | string | number): PublishedPort[] {
  const { container, host, hostIp, protocol = 'tcp' } = readSpec(spec)
  if (!PROTOCOLS.includes(protocol)) {
    throw invalid(`has no protocol ${show(protocol)}`, `Use ${PROTOCOLS.join(', ')}.`)
  }
  if (hostIp !== undefined && (typeof hostIp !== 'string' || isIP(hostIp) === 0)) {
    throw invalid(`has no address ${show(hostIp)}`)
  }
  const inside = range(container, 1)
  const outside = host === undefined ? inside.map(() => 0) : range(host, 0)
  if (outside.length !== inside.length) {
    throw invalid(
      `publishes ${inside.length} ports on ${outside.length}`,
      'Give ranges of the same length.',
    )
  }
  return inside.map((port, n) => {
    return { container: port, host: outside[n] ?? 0, hostIp, protocol }
  })
}

/** @throws `KEELSON_INVALID_OPTION` when two want the same port of the host */
export function normalizePorts(specs: readonly (PortSpec | string | number)[]): PublishedPort[] {
  const ports = specs.flatMap(normalizePort)
  const seen = new Set<string>()
  for (const { host, hostIp, protocol } of ports) {
    const key = `${hostIp ?? '*'} ${host} ${protocol}`
    if (host !== 0 && seen.has(key)) throw invalid(`publishes twice on ${host}/${protocol}`)
    seen.add(key)
  }
  return ports
}

type Reservation = NetworkPlan['ports'][number]

const ANY = { 4: '0.0.0.0', 6: '::' } as const
const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const

/**
 * Sockets to hold and elements to add, for a container with these addresses. Every port has its number by now.
 *
 * The kernel forwards within a family, and not from `::1`; the rest the sockets themselves pass on. So a port is reached by both families
 * of the host's addresses, whatever the container has.
 *
 * @param internal no other host reaches the container: the kernel sees to that, and for the rest loopback is all there is
 * @throws `KEELSON_INVALID_OPTION` for SCTP on an address of a family that the container has none of
 */
export function planPorts(
  ports: readonly PublishedPort[],
  addresses: readonly Address[],
  internal: boolean,
): { reserve: Reservation[]; elements: PortElement[] } {
  const planned = ports.flatMap((port) =>
    familiesOf(port).map((family) => {
      const own = addresses.find((address) => address.family === family)
      if (own !== undefined) return forwarded(port, own)
      const [other] = addresses
      return other === undefined ? {} : relayed(port, family, other, internal)
    }),
  )
  return {
    reserve: planned.flatMap(({ reserve }) => reserve ?? []),
    elements: planned.flatMap(({ element }) => element ?? []),
  }
}

interface PlannedPort {
  reserve?: Reservation
  element?: PortElement
}

function familiesOf({ hostIp }: PublishedPort): Family[] {
  return hostIp === undefined ? [4, 6] : [isIP(hostIp) === 6 ? 6 : 4]
}

/** By the kernel. */
function forwarded(
  { container, host, hostIp, protocol }: PublishedPort,
  address: Address,
): PlannedPort {
  const { family } = address
  const everywhere = isEverywhere(hostIp)
  const at = everywhere ? ANY[family] : canonical(hostIp)
  const to = { address: formatAddress(address), port: container }
  const byLoopback = family === 6 && (everywhere || at === LOOPBACK[6]) && protocol !== 'sctp'
  return {
    reserve: { protocol, address: at, port: host, ...(byLoopback && { relay: to }) },
    element: { protocol, family, ...(!everywhere && { host: at }), hostPort: host, ...to },
  }
}

/** To the other family. */
function relayed(
  { container, host, hostIp, protocol }: PublishedPort,
  family: Family,
  address: Address,
  internal: boolean,
): PlannedPort {
  if (protocol === 'sctp') {
    // Nobody asked for this address.
    if (hostIp === undefined) return {}
    throw invalid(
      `publishes SCTP at ${hostIp}, and the container has no such address`,
      `Give the network a subnet of IPv${family}, or publish at an address of IPv${address.family}.`,
    )
  }
  if (internal && hostIp !== undefined && !isLoopback(hostIp) && !isEverywhere(hostIp)) return {}
  const everywhere = internal ? LOOPBACK[family] : ANY[family]
  return {
    reserve: {
      protocol,
      address: isEverywhere(hostIp) ? everywhere : canonical(hostIp),
      port: host,
      relay: { address: formatAddress(address), port: container },
      ...(hostIp === undefined && { optional: true }),
    },
  }
}

function isEverywhere(hostIp: string | undefined): hostIp is undefined | '0.0.0.0' | '::' {
  return hostIp === undefined || canonical(hostIp) === ANY[4] || canonical(hostIp) === ANY[6]
}

function isLoopback(hostIp: string): boolean {
  return hostIp.startsWith('127.') || canonical(hostIp) === LOOPBACK[6]
}

function canonical(text: string): string {
  const parsed = parseAddress(text)
  return parsed ? formatAddress(parsed) : text
}

function readSpec(spec: PortSpec | string | number): PortSpec {
  if (typeof spec === 'number') return { container: spec }
  if (typeof spec === 'object' && spec !== null) return spec
  if (typeof spec !== 'string') throw invalid(`has no port ${show(spec)}`)
  const match = /^(?:(?:(\[[^\]]*\]|[^:]*):)?(\d*(?:-\d+)?):)?(\d+(?:-\d+)?)(?:\/(\w+))?$/.exec(
    spec,
  )
  if (match === null) {
    throw invalid(
      `has a port that cannot be read: ${JSON.stringify(spec)}`,
      'Write it as "8080:80", "127.0.0.1:8080:80/tcp" or "80".',
    )
  }
  const [, ip, host, container = '', protocol] = match
  return {
    container: readRange(container),
    ...(host && { host: readRange(host) }),
    ...(ip && { hostIp: ip.replace(/^\[|\]$/g, '') }),
    ...(protocol && { protocol: protocol as PortProtocol }),
  }
}

function readRange(text: string): number | [number, number] {
  const [from = '', to] = text.split('-')
  return to === undefined ? Number(from) : [Number(from), Number(to)]
}

function range(given: number | [from: number, to: number], least: number): number[] {
  const [from, to] = Array.isArray(given) ? given : [given, given]
  for (const port of [from, to]) {
    if (!Number.isInteger(port) || port < least || port > 65535) {
      throw invalid(`has no port ${show(port)}`, `Ports are whole numbers from ${least} to 65535.`)
    }
  }
  if (to < from) throw invalid(`has a range that ends before it begins: ${from}-${to}`)
  return Array.from({ length: to - from + 1 }, (_, n) => from + n)
}

function invalid(complaint: string, hint?: string): KeelsonError {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ports ${complaint}.`, {
    option: 'ports',
    hint,
  })
}
