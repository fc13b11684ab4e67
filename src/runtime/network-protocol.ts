/** What TypeScript asks of the helper about networks: the words of ip(8) and of libnftables-json(5). */

/**
 * One thing to do by rtnetlink, in the namespace that the list is for. Done in order, as many in one message as there can be; the first
 * failure is told, and of those that follow it in the same message some may be done.
 */
export type LinkOperation =
  /** Present already, with the same kind: fine. */
  | { do: 'add'; name: string; kind: 'bridge'; mtu?: number; mac?: string }
  /** The peer is made in the container's namespace, under the name `peer`. */
  | {
      do: 'add'
      name: string
      kind: 'veth'
      peer: string
      mtu?: number
      peerMac?: string
      /** 1: what goes by it is cut into packets of the wire's size. */
      gsoMaxSegs?: number
    }
  /** Made in the container's namespace, on top of a `parent` of the host. */
  | {
      do: 'add'
      name: string
      kind: 'macvlan'
      parent: string
      mode: 'bridge' | 'private' | 'vepa' | 'passthru'
      mac?: string
    }
  | {
      do: 'set'
      name: string
      up?: boolean
      master?: string
      rename?: string
      /** Of a bridge's port: no traffic to other isolated ones. */
      isolated?: boolean
      hairpin?: boolean
      /** Remembers which addresses are behind it. */
      learning?: boolean
      /** Gets what is for everybody, and for addresses that nobody has seen. */
      flood?: boolean
    }
  | { do: 'address'; name: string; address: string; prefix: number }
  /** Without `to`: the default route. `metric`: the smallest wins. */
  | {
      do: 'route'
      name: string
      to?: string
      via?: string
      metric?: number
      /** In the place of one to the same destination. */
      replace?: boolean
    }
  /** What is for this hardware address leaves its bridge by this port. */
  | { do: 'fdb'; name: string; mac: string }
  /** Missing: fine. */
  | { do: 'delete'; name: string }
  /** /proc/sys, e.g. `net/ipv4/conf/kl0/route_localnet`. Only below `net/`. */
  | { do: 'sysctl'; path: string; value: string }

/** A command of libnftables-json(5), of which the helper knows what `src/network/firewall/firewall.ts` uses. */
export type FirewallCommand =
  { add: object } | { create: object } | { delete: object } | { flush: object }

/** `network` of the `keelson` extension: absent for containers without a network of their own. */
export interface NetworkPlan {
  /** On the host, before the child goes on. */
  host: LinkOperation[]
  /** In the container's namespace, by the child. */
  inside: LinkOperation[]
  /** In one batch each: when the container starts, and when it has ended. */
  firewall: {
    start: FirewallCommand[]
    end: FirewallCommand[]
    /** In the container's namespace, which takes them with it. */
    inside?: FirewallCommand[]
  }
  /** Sockets held while the container lives; taken before anything is made. `KEELSON_PORT_IN_USE` names the first that is taken. */
  ports: {
    protocol: 'tcp' | 'udp' | 'sctp'
    address: string
    port: number
    /** Absent: the kernel forwards all that comes. Else what comes to the socket is passed on to there by a process. */
    relay?: { address: string; port: number }
    /** A host without addresses of that family does without. */
    optional?: boolean
  }[]
  /** Absent: nobody answers. */
  names?: NameService
  /**
   * What to remove when the container has ended, in this order: addresses and names. What ends in `/` is a directory that is removed
   * only when nothing is in it.
   */
  remove: string[]
}

/** Other networks for a container that runs: the operation `network` of its monitor. All of it or nothing. */
export interface NetworkChange {
  /** In the place of the plan that it was started with: for its restarts, and for its end. */
  plan: NetworkPlan
  /** On the host, the other ends in the container's namespace; then inside. */
  host: LinkOperation[]
  inside: LinkOperation[]
  /** When something of these fails: each, as far as it can be done. */
  undo: { host: LinkOperation[]; inside: LinkOperation[] }
  /** In one batch. */
  firewall: FirewallCommand[]
  /** What fails is passed over. */
  force?: boolean
  /** Written when it is done, and replaced at once. */
  files: { path: string; text: string }[]
  /** Removed when it is done, as `remove` of a plan. */
  release: string[]
}

/** A file in a directory of resolvers. Of several the one with the greatest name is asked first. */
export interface NameResolverFile {
  /** Of a unix socket; each question is a connection: one frame each way. */
  socket: string
  /** Milliseconds. */
  timeout: number
  /** When there is no answer: as if there was no such resolver, or SERVFAIL. */
  fallback: 'pass' | 'fail'
}

/** What such a resolver is asked. */
export interface NameResolverQuestion {
  /** In lower case, without the last dot; bytes that no host's name has as `\DDD`. */
  name: string
  /** Number of the record type. */
  type: number
  container: string
}

/** Addresses, and for PTR names; what is not of the type that was asked for does not count. */
export type NameResolverAnswer =
  { answer: 'pass' } | { answer: 'refuse' } | { answer: 'records'; records: string[] }

/** Answers inside the container, by UDP and TCP. */
export interface NameService {
  /** Address and port in the container's namespace. */
  listen: string
  /** Who asks. */
  container: string
  /** Directories of names, one a network, in order of preference. */
  directories: string[]
  /** Directories of functions of programs that are asked first, one a network: {@link NameResolverFile}. */
  resolvers: string[]
  /**
   * Addresses of the resolvers that all else is asked of, from the host's namespace; with the port when it is not 53. Empty: names
   * without a dot do not exist, and others are a failure.
   */
  upstream: string[]
}

/** What asks for a socket: under this number it comes over Node's own channel, before the answer or after it. */
export interface SocketRequest {
  socket: number
}

/** Operations of the launcher, run in a worker in the host's network namespace. */
export interface NetworkOperations {
  /** Links first, then the firewall's batch. */
  'network.apply': [{ links: LinkOperation[]; firewall: FirewallCommand[] }, object]
  /** Makes a network namespace without processes, with `lo` up, for sockets; it lasts until `network.leave` and as long as there are any. */
  'network.join': [{ member: string; host: LinkOperation[]; inside: LinkOperation[] }, object]
  /** A TCP socket in it. `port-in-use` when another one has that port. */
  'network.listen': [SocketRequest & { member: string; listen: string }, object]
  /** By the launcher itself. Sockets are left to Node. */
  'network.leave': [{ member: string }, object]
  /**
   * Offers a pipe to write {@link FaultsUpdate}s to, in frames, each of which it answers by progress. When the pipe is closed, it sends what
   * is still on its way and ends. However it ends, its rules and its port are gone then.
   */
  'network.faults': [object, object]
  /** Of the host. */
  'network.links': [object, { links: { name: string; kind: string; index: number; up: boolean }[] }]
  /** Destinations of the host's routes and addresses, as prefixes; those of IPv6 are many where there are many links. */
  'network.prefixes': [{ family: 4 | 6 }, { prefixes: string[] }]
  'network.firewall': [object, FirewallFacts]
}

export interface FirewallFacts {
  /** Base chains of others at the forward hook whose policy is drop: `ip filter FORWARD`. */
  dropping: string[]
  /** Whether nf_tables can be used at all; the errno when not. */
  nftables: { ok: boolean; errno?: number }
}

/** What is to hold between members of a network from now on; all of it, but for what `port` makes once. */
export interface FaultsUpdate {
  /** The progress `{ update, error? }` tells what became of it. After an error all is as before. */
  update: number
  /** The first time that there are pipes: the link by which packets come, its other end in a namespace of the helper's own. */
  port?: { outside: string; name: string; host: LinkOperation[]; inside: LinkOperation[] }
  links: LinkOperation[]
  firewall: FirewallCommand[]
  pipes: FaultPipe[]
}

/** What becomes of packets from one member to another. */
export interface FaultPipe {
  /** The hardware address by which they come to the helper. */
  via: string
  from: string
  to: string
  /** The sender is told that its packets are not let through. */
  reject?: boolean
  /** One after the other. */
  stages: FaultStage[]
  /** TCP connections to end, as packets of this direction name them. */
  resets: [source: string, sourcePort: number, destination: string, destinationPort: number][]
}

export interface FaultStage {
  /** The same one in the next update goes on. */
  id: string
  /** Of packets, by chance: 0 to 1. */
  loss?: number
  /** Bits a second. */
  rate?: number
  /** Milliseconds. The order of packets is kept. */
  latency?: number
  jitter?: number
}
