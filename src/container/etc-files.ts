/** The contents of the files that a container gets in /etc. Pure. */
import { isIPv6 } from 'node:net'

export function hostsFile(hostname: string, extra: readonly { name: string; address: string }[]) {
  return [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'ff00::0\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    `127.0.1.1\t${hostname}`,
    ...extra.map(({ name, address }) => `${address}\t${name}`),
    '',
  ].join('\n')
}

/** What the caller wants instead of the host's resolver settings. */
export interface ResolverOptions {
  servers?: readonly string[] | undefined
  search?: readonly string[] | undefined
  options?: readonly string[] | undefined
}

/**
 * The resolver configuration: the host's, with what is given in its place. In a network of its own, the host's name servers on
 * loopback cannot be reached, so they are left out.
 */
export function resolverFile(host: string, given: ResolverOptions, sharesNetwork: boolean): string {
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
