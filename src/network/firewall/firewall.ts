/**
 * The rules of the table `inet keelson`, and the elements by which networks and containers take part in them. Pure; the words are
 * those of libnftables-json(5).
 */
import type { FirewallCommand } from '../../runtime/network-protocol.ts'

const FAMILY = 'inet'
const TABLE = 'keelson'

/** A bridge, and what is to hold for it. */
export interface BridgeElement {
  bridge: string
  /** No way out of the bridge, nor in. */
  internal: boolean
  /** Prefixes whose packets leave the host under its address. */
  masquerade: { family: 4 | 6; prefix: string; length: number }[]
}

/** A published port. Without `host`: on every address of the host's. */
export interface PortElement {
  protocol: 'tcp' | 'udp' | 'sctp'
  family: 4 | 6
  host?: string
  hostPort: number
  address: string
  port: number
}

/**
 * The table with its chains and sets, for who finds it missing. The rules never change: they look up what is in the sets.
 */
export function baseTable(): FirewallCommand[] {
  return [
    // Whoever is second fails as a whole, and finds the table complete.
    { create: { table: { family: FAMILY, name: TABLE } } },
    set('bridges', 'ifname'),
    set('internal', 'ifname'),
    set('within', ['ifname', 'ifname']),
    set('masquerade4', 'ipv4_addr', ['interval']),
    set('masquerade6', 'ipv6_addr', ['interval']),
    ...([4, 6] as const).flatMap((family) => [
      map(`ports${family}`, ['inet_proto', 'inet_service'], [`ipv${family}_addr`, 'inet_service']),
      map(
        `ports${family}at`,
        [`ipv${family}_addr`, 'inet_proto', 'inet_service'],
        [`ipv${family}_addr`, 'inet_service'],
      ),
    ]),
    chain('ports'),
    baseChain('prerouting', 'nat', 'prerouting', -100),
    baseChain('output', 'nat', 'output', -100),
    baseChain('postrouting', 'nat', 'postrouting', 100),
    baseChain('forward', 'filter', 'forward', 0),
    // Whatever is addressed to the host itself, from outside, from containers and from the host's own programs.
    rule('prerouting', [toHost(), { jump: { target: 'ports' } }]),
    // The kernel routes nothing from ::1 to elsewhere: the sockets that reserve the ports pass it on.
    rule('output', [match('==', daddr(6), '::1'), { accept: null }]),
    rule('output', [toHost(), { jump: { target: 'ports' } }]),
    ...([4, 6] as const).flatMap((family) => [
      rule('ports', [dnat(family, [daddr(family), L4PROTO, DPORT], `ports${family}at`)]),
      rule('ports', [dnat(family, [L4PROTO, DPORT], `ports${family}`)]),
    ]),
    ...([4, 6] as const).flatMap((family) => [
      // To other hosts under this host's address; to other networks of ours as they are, where they are dropped.
      rule('postrouting', [
        match('==', saddr(family), `@masquerade${family}`),
        match('!=', meta('oifname'), '@bridges'),
        { masquerade: null },
      ]),
      // By a published port back into the network it came from: the answer must come back this way.
      rule('postrouting', [
        match('==', saddr(family), `@masquerade${family}`),
        match('in', ct('status'), 'dnat'),
        { masquerade: null },
      ]),
    ]),
    // From the host's loopback, whose addresses mean something else inside.
    rule('postrouting', [
      match('==', saddr(4), { prefix: { addr: '127.0.0.0', len: 8 } }),
      match('==', meta('oifname'), '@bridges'),
      { masquerade: null },
    ]),
    rule('forward', [match('in', ct('state'), ['established', 'related']), { accept: null }]),
    rule('forward', [
      match('==', meta('iifname'), '@internal'),
      match('!=', meta('oifname'), '@internal'),
      { drop: null },
    ]),
    rule('forward', [
      match('!=', meta('iifname'), '@internal'),
      match('==', meta('oifname'), '@internal'),
      { drop: null },
    ]),
    rule('forward', [
      match('==', meta('oifname'), '@bridges'),
      match('in', ct('status'), 'dnat'),
      { accept: null },
    ]),
    // With br_netfilter, as Docker loads it, what stays on a bridge comes by here too.
    rule('forward', [
      match('==', { concat: [meta('iifname'), meta('oifname')] }, '@within'),
      { accept: null },
    ]),
    // All else that goes into a bridge was not asked for.
    rule('forward', [match('==', meta('oifname'), '@bridges'), { drop: null }]),
  ]
}

/** @param command `add` or `delete` */
export function bridgeElements(
  command: 'add' | 'delete',
  { bridge, internal, masquerade }: BridgeElement,
): FirewallCommand[] {
  return [
    element(command, 'bridges', bridge),
    element(command, 'within', { concat: [bridge, bridge] }),
    ...(internal ? [element(command, 'internal', bridge)] : []),
    ...masquerade.map(({ family, prefix, length }) =>
      element(command, `masquerade${family}`, { prefix: { addr: prefix, len: length } }),
    ),
  ]
}

/** @param command `add` or `delete` */
export function portElements(
  command: 'add' | 'delete',
  ports: readonly PortElement[],
): FirewallCommand[] {
  return ports.map(({ protocol, family, host, hostPort, address, port }) => {
    const name = host === undefined ? `ports${family}` : `ports${family}at`
    const key = { concat: [...(host === undefined ? [] : [host]), protocol, hostPort] }
    return element(command, name, [key, { concat: [address, port] }])
  })
}

const L4PROTO = meta('l4proto')
const DPORT = { payload: { protocol: 'th', field: 'dport' } }

function set(name: string, type: string | string[], flags?: string[]): FirewallCommand {
  return { add: { set: { family: FAMILY, table: TABLE, name, type, ...(flags && { flags }) } } }
}

function map(name: string, type: string[], value: string[]): FirewallCommand {
  return { add: { map: { family: FAMILY, table: TABLE, name, type, map: value } } }
}

function chain(name: string): FirewallCommand {
  return { add: { chain: { family: FAMILY, table: TABLE, name } } }
}

function baseChain(name: string, type: string, hook: string, prio: number): FirewallCommand {
  const base = { family: FAMILY, table: TABLE, name, type, hook, prio, policy: 'accept' }
  return { add: { chain: base } }
}

function rule(name: string, expr: object[]): FirewallCommand {
  return { add: { rule: { family: FAMILY, table: TABLE, chain: name, expr } } }
}

function element(command: 'add' | 'delete', name: string, elem: unknown): FirewallCommand {
  const body = { element: { family: FAMILY, table: TABLE, name, elem: [elem] } }
  return command === 'add' ? { add: body } : { delete: body }
}

function match(op: '==' | '!=' | 'in', left: object, right: unknown): object {
  return { match: { op, left, right } }
}

function dnat(family: 4 | 6, key: object[], name: string): object {
  const data = { map: { key: { concat: key }, data: `@${name}` } }
  return { dnat: { family: family === 4 ? 'ip' : 'ip6', addr: data } }
}

function toHost(): object {
  return match('==', { fib: { result: 'type', flags: ['daddr'] } }, 'local')
}

function meta(key: string): object {
  return { meta: { key } }
}

function ct(key: string): object {
  return { ct: { key } }
}

function saddr(family: 4 | 6): object {
  return { payload: { protocol: family === 4 ? 'ip' : 'ip6', field: 'saddr' } }
}

function daddr(family: 4 | 6): object {
  return { payload: { protocol: family === 4 ? 'ip' : 'ip6', field: 'daddr' } }
}
