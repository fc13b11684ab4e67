/** The contents of the files that a container gets in /etc. Pure. */
import { isIPv6 } from 'node:net'
import { HOST_GATEWAY, NAME_SERVER } from '../../network/names/names.ts'
import type { NormalizedContainer } from '../normalize/normalize.ts'

/** Contents of `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`. */
export interface EtcFiles {
  hosts: string
  hostname: string
  resolvConf: string
}

/** What a container has on its networks. */
export interface OwnNetwork {
  addresses: readonly string[]
  /** The host's addresses there. */
  gateways: readonly string[]
}

const NO_NETWORK: OwnNetwork = { addresses: [], gateways: [] }

/**
 * The files of a container called `name`. One that shares the host's network sees the host's names, with its own added.
 *
 * @param host the host's own files
 */
export function etcFiles(
  name: string,
  options: Pick<NormalizedContainer, 'network' | 'extraHosts' | 'dns' | 'dnsSearch' | 'dnsOptions'>,
  host: Pick<EtcFiles, 'hosts' | 'resolvConf'>,
  own: OwnNetwork = NO_NETWORK,
): EtcFiles {
  const { network, dns, dnsSearch: search, dnsOptions } = options
  const shared = network === 'host'
  // On networks of Keelson's its name service answers, and asks the others.
  const servers = Array.isArray(network) ? [NAME_SERVER] : dns
  const gateways = shared ? ['127.0.0.1'] : own.gateways
  const extraHosts = options.extraHosts.flatMap((extra) =>
    extra.address === HOST_GATEWAY ? gateways.map((address) => ({ ...extra, address })) : [extra],
  )
  return {
    hosts: shared ? withHosts(host.hosts, extraHosts) : hostsFile(name, extraHosts, own.addresses),
    hostname: `${name}\n`,
    resolvConf: resolverFile(host.resolvConf, { servers, search, options: dnsOptions }, shared),
  }
}

type ExtraHosts = readonly { name: string; address: string }[]

function hostsFile(hostname: string, extra: ExtraHosts, addresses: readonly string[]): string {
  const own = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'ff00::0\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    // A program that looks its own name up must not wait for name servers; others are told an address that is theirs, too.
    ...(addresses.length > 0 ? addresses : ['127.0.1.1']).map((each) => `${each}\t${hostname}`),
    '',
  ]
  return withHosts(own.join('\n'), extra)
}

function withHosts(file: string, extra: ExtraHosts): string {
  const lines = extra.map(({ name, address }) => `${address}\t${name}\n`)
  const ended = file === '' || file.endsWith('\n') ? file : `${file}\n`
  return `${ended}${lines.join('')}`
}

/** What the caller wants instead of the host's resolver settings. */
interface ResolverOptions {
  servers?: readonly string[] | undefined
  search?: readonly string[] | undefined
  options?: readonly string[] | undefined
}

/**
 * The resolver configuration: the host's, with what is given in its place. In a network of its own, the host's name servers on
 * loopback cannot be reached, so they are left out.
 */
function resolverFile(host: string, given: ResolverOptions, sharesNetwork: boolean): string {
  const kept = host.split('\n').filter((line) => {
    const [keyword, value = ''] = line.trim().split(/\s+/)
    if (keyword === 'nameserver')
      return given.servers === undefined && (sharesNetwork || !isLoopback(value))
    if (keyword === 'search' || keyword === 'domain') return given.search === undefined
    if (keyword === 'options') return given.options === undefined
    return false
  })
  const lines = [
    ...(given.servers ?? []).map((server) => `nameserver ${server}`),
    ...(given.search?.length ? [`search ${given.search.join(' ')}`] : []),
    ...(given.options?.length ? [`options ${given.options.join(' ')}`] : []),
  ]
  return [...kept, ...lines, ''].join('\n')
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || (isIPv6(address) && /^(?:0*:)*:?0*1$/.test(address))
}
