import { BlockList, isIP } from 'node:net'
import { keelsonError } from '../errors.ts'
import { isLoopback } from './hosts.ts'

/**
 * The proxy for a URL, from the environment by the rules that Go programs (docker, containerd) follow: `HTTPS_PROXY` for https,
 * `HTTP_PROXY` for http, in upper or lower case; never for this machine itself; not for what `NO_PROXY` lists.
 *
 * @throws `KEELSON_INVALID_OPTION` when the variable holds no usable URL.
 */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv): URL | undefined {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY'
  // A CGI program finds the header "Proxy" of its client in HTTP_PROXY (CVE-2016-5385).
  if (name === 'HTTP_PROXY' && env['REQUEST_METHOD'] !== undefined) return undefined
  const text = read(env, name)
  if (text === '' || isLoopback(url.host) || isExcluded(url, read(env, 'NO_PROXY')))
    return undefined
  return parseProxy(text, name)
}

/** Reads `[http[s]://][user:password@]host[:port]`. */
export function parseProxy(text: string, source: string): URL {
  const full = text.includes('://') ? text : `http://${text}`
  const url = URL.canParse(full) ? new URL(full) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    // The text is not shown: it may hold a password.
    throw keelsonError('KEELSON_INVALID_OPTION', `${source} does not hold a usable proxy.`, {
      hint: 'Write http://host:port or https://host:port; SOCKS proxies are not supported.',
    })
  }
  return url
}

function read(env: NodeJS.ProcessEnv, name: string): string {
  return (env[name] ?? env[name.toLowerCase()] ?? '').trim()
}

function isExcluded(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry !== '' && matches(entry, host, port))
}

/** `*`, an address, a network, `host`, `.suffix` or `*.suffix`; all but the networks with a port if wanted. */
function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true
  if (entry.includes('/')) return inNetwork(entry, host)
  const [, name = '', only] = isIP(entry) === 6 ? [entry, entry] : splitPort(entry)
  if (only !== undefined && only !== port) return false
  const bare = name.replace(/^\[|\]$/g, '')
  const version = isIP(bare)
  if (version !== 0)
    return isIP(host) === version && inNetwork(`${bare}/${version === 6 ? 128 : 32}`, host)
  const suffix = bare.replace(/^\*(?=\.)/, '')
  if (suffix.startsWith('.')) return host.endsWith(suffix)
  return host === suffix || host.endsWith(`.${suffix}`)
}

function splitPort(entry: string): string[] {
  return /^(.*?)(?::([0-9]+))?$/.exec(entry) ?? []
}

function inNetwork(network: string, host: string): boolean {
  const [address = '', prefix = ''] = network.split('/')
  const version = isIP(address)
  const bits = Number(prefix)
  if (version === 0 || isIP(host) !== version) return false
  if (!/^[0-9]{1,3}$/.test(prefix) || bits > (version === 6 ? 128 : 32)) return false
  const family = version === 6 ? 'ipv6' : 'ipv4'
  const list = new BlockList()
  list.addSubnet(address, bits, family)
  return list.check(host, family)
}
