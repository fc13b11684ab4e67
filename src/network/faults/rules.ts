/** The tables in which faults are rules, and the elements by which they hold. Pure; the words are those of libnftables-json(5). */
import type { FirewallCommand } from '../../runtime/network-protocol.ts'

/** Who must not hear from whom, and who is led through the helper. Each entry is an element, in the order of its set's types. */
export interface FaultElements {
  /** Frames from one port of the bridge to another. */
  ports: [from: string, to: string][]
  /** Those that have come through the helper. */
  macs: [from: string, to: string][]
  /** Ports that hear nothing from the host, nor it from them. */
  host: string[]
  /** What is forwarded by the host: by a port that one of them publishes. */
  addresses4: [from: string, to: string][]
  addresses6: [from: string, to: string][]
  /** As `ports` and `host`, for what is refused: only datagrams for everybody, as nobody could be told of those. */
  refusedPorts: [from: string, to: string][]
  refusedHost: string[]
  /** Frames by a port to a hardware address -> the one that the helper gets them by. */
  pipes: [port: string, to: string, via: string][]
  /** The same of those that the host sends. */
  hostPipes: [to: string, via: string][]
}

/** The sets and maps, by the name of their elements. */
const SETS: { [Name in keyof FaultElements]: { family: Family; type: string[]; map?: string } } = {
  ports: { family: 'bridge', type: ['ifname', 'ifname'] },
  macs: { family: 'bridge', type: ['ether_addr', 'ether_addr'] },
  host: { family: 'bridge', type: ['ifname'] },
  addresses4: { family: 'inet', type: ['ipv4_addr', 'ipv4_addr'] },
  addresses6: { family: 'inet', type: ['ipv6_addr', 'ipv6_addr'] },
  refusedPorts: { family: 'bridge', type: ['ifname', 'ifname'] },
  refusedHost: { family: 'bridge', type: ['ifname'] },
  pipes: { family: 'bridge', type: ['ifname', 'ether_addr'], map: 'ether_addr' },
  hostPipes: { family: 'netdev', type: ['ether_addr'], map: 'ether_addr' },
}

type Family = 'bridge' | 'inet' | 'netdev'

/** Before anything else sees the frame: its way through the bridge depends on where it goes. */
const FIRST = -300
const FILTER = -200

/** By which the helper gives packets back, and the host's hardware address in the network. */
interface Surroundings {
  port: string
  hostMac: string
}

/**
 * The tables `name` with all that does not change. They belong to whoever makes them: no one else can change them, and they go with
 * its connection to the kernel.
 *
 * Where br_netfilter is (Docker loads it), connection tracking would see packets that go through the helper twice, and the first time
 * decide that nothing is to be translated: so it does not see them on their way there, nor back, unless that is where the host is.
 */
export function faultTables(name: string, { port, hostMac }: Surroundings): FirewallCommand[] {
  const bridge = tableOf('bridge', name)
  const inet = tableOf('inet', name)
  const datagrams = match('==', meta('l4proto'), 'udp')
  const ports = { concat: [meta('iifname'), meta('oifname')] }
  const macs = { concat: [ether('saddr'), ether('daddr')] }
  return [
    bridge.make,
    ...bridge.sets(['ports', 'macs', 'host', 'refusedPorts', 'refusedHost', 'pipes']),
    bridge.chain('prerouting', 'prerouting', FIRST),
    bridge.chain('forward', 'forward', FILTER),
    bridge.chain('input', 'input', FILTER),
    bridge.chain('output', 'output', FILTER),
    bridge.rule('prerouting', [
      { mangle: { key: ether('daddr'), value: via([meta('iifname'), ether('daddr')], 'pipes') } },
      NOTRACK,
    ]),
    bridge.rule('prerouting', [
      match('==', meta('iifname'), port),
      match('!=', ether('daddr'), hostMac),
      NOTRACK,
    ]),
    // Who is where is known all the time: or what is healed would wait for the next question, a second later.
    ...['forward', 'input', 'output'].flatMap((chain) => [
      bridge.rule(chain, [match('==', ether('type'), ARP), ACCEPT]),
      ...discovery(bridge, chain),
    ]),
    bridge.rule('forward', [match('==', ports, '@ports'), DROP]),
    bridge.rule('forward', [match('==', macs, '@macs'), DROP]),
    bridge.rule('forward', [datagrams, match('==', ports, '@refusedPorts'), DROP]),
    bridge.rule('input', [match('==', meta('iifname'), '@host'), DROP]),
    bridge.rule('input', [match('==', macs, '@macs'), DROP]),
    bridge.rule('input', [datagrams, match('==', meta('iifname'), '@refusedHost'), DROP]),
    bridge.rule('output', [match('==', meta('oifname'), '@host'), DROP]),
    bridge.rule('output', [datagrams, match('==', meta('oifname'), '@refusedHost'), DROP]),
    inet.make,
    ...inet.sets(['addresses4', 'addresses6']),
    inet.chain('forward', 'forward', FILTER),
    // With br_netfilter it is here, too.
    ...discovery(inet, 'forward'),
    ...(['ip', 'ip6'] as const).map((protocol) => {
      const ends = ['saddr', 'daddr'].map((field) => ({ payload: { protocol, field } }))
      const set = protocol === 'ip' ? '@addresses4' : '@addresses6'
      return inet.rule('forward', [match('==', { concat: ends }, set), DROP])
    }),
  ]
}

/** The table for what the host itself sends into the bridge: needs Linux 5.16. */
export function hostTable(name: string, bridge: string): FirewallCommand[] {
  const netdev = tableOf('netdev', name)
  return [
    netdev.make,
    ...netdev.sets(['hostPipes']),
    netdev.chain('egress', 'egress', 0, bridge),
    netdev.rule('egress', [
      { mangle: { key: ether('daddr'), value: via([ether('daddr')], 'hostPipes') } },
    ]),
  ]
}

/** These elements and no others, in the tables that are there. */
export function replaceElements(
  name: string,
  elements: FaultElements,
  { withHost }: { withHost: boolean },
): FirewallCommand[] {
  return (Object.keys(SETS) as (keyof FaultElements)[]).flatMap((set) => {
    const { family, map } = SETS[set]
    if (family === 'netdev' && !withHost) return []
    const place = { family, table: name, name: set }
    const flush = { flush: map === undefined ? { set: place } : { map: place } }
    const elem = distinct(elements[set].map((element) => toElement(element, map !== undefined)))
    return elem.length === 0 ? [flush] : [flush, { add: { element: { ...place, elem } } }]
  })
}

function toElement(element: string | string[], isMap: boolean): unknown {
  const parts = [element].flat()
  const key = isMap ? parts.slice(0, -1) : parts
  const value = key.length === 1 ? key[0] : { concat: key }
  return isMap ? [value, parts.at(-1)] : value
}

function distinct(values: unknown[]): unknown[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()]
}

/** The type of its frames. */
const ARP = 0x0806
/** Neighbor solicitations and advertisements (RFC 4861). */
const NEIGHBOR_DISCOVERY = [135, 136]

const ACCEPT = { accept: null }
const DROP = { drop: null }
const NOTRACK = { notrack: null }

function tableOf(family: Family, table: string) {
  return {
    make: { create: { table: { family, name: table, flags: ['owner'] } } },
    sets: (names: (keyof FaultElements)[]): FirewallCommand[] =>
      names.map((name) => {
        const { type, map } = SETS[name]
        const place = { family, table, name, type }
        return { add: map === undefined ? { set: place } : { map: { ...place, map } } }
      }),
    chain: (name: string, hook: string, prio: number, dev?: string): FirewallCommand => {
      const base = {
        type: 'filter',
        hook,
        prio,
        policy: 'accept',
        ...(dev !== undefined && { dev }),
      }
      return { add: { chain: { family, table, name, ...base } } }
    },
    rule: (chain: string, expr: object[]): FirewallCommand => {
      return { add: { rule: { family, table, chain, expr } } }
    },
  }
}

function discovery({ rule }: ReturnType<typeof tableOf>, chain: string): FirewallCommand[] {
  return NEIGHBOR_DISCOVERY.map((type) =>
    rule(chain, [
      match('==', meta('l4proto'), 'icmpv6'),
      match('==', { payload: { protocol: 'icmpv6', field: 'type' } }, type),
      ACCEPT,
    ]),
  )
}

function match(op: '==' | '!=', left: object, right: string | number): object {
  return { match: { op, left, right } }
}

function via(key: object[], map: string): object {
  return { map: { key: key.length === 1 ? key[0] : { concat: key }, data: `@${map}` } }
}

function meta(key: string): object {
  return { meta: { key } }
}

function ether(field: 'saddr' | 'daddr' | 'type'): object {
  return { payload: { protocol: 'ether', field } }
}
