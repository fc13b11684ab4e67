import { BlockList, isIP } from 'node:net'
import { keelsonError } from '../errors.ts'
import { printable } from '../util/printable.ts'
import type { RegistryOptions } from './options.ts'

/** Docker Hub's name in references, and the host that serves it. */
const HUB = 'docker.io'
const HUB_HOST = 'registry-1.docker.io'
const HUB_ALIASES = new Set([HUB, 'index.docker.io', HUB_HOST])

export type Scheme = 'https' | 'http'

/** One place where a repository may be found. */
export interface Endpoint {
  /** The name under which options and credentials are kept: `docker.io`, `127.0.0.1:5000`. */
  registry: string
  /** Host and port to connect to: `registry-1.docker.io`. */
  host: string
  /** What goes before the repository's name: `''` or `hub/`. */
  prefix: string
  /** To be tried in this order. */
  schemes: readonly Scheme[]
  mirror: boolean
}

/**
 * Where to look for a registry's repositories: its mirrors in order, then itself.
 *
 * @throws `KEELSON_INVALID_OPTION` for a malformed mirror.
 */
export function endpointsOf(
  registry: string,
  registries: Record<string, RegistryOptions>,
): Endpoint[] {
  const name = registryName(registry)
  const mirrors = registries[name]?.mirrors ?? []
  const origin: Endpoint = {
    registry: name,
    host: name === HUB ? HUB_HOST : name,
    prefix: '',
    schemes: schemesOf(name, registries[name]),
    mirror: false,
  }
  return [...mirrors.map((mirror) => mirrorEndpoint(mirror, registries)), origin]
}

function mirrorEndpoint(text: string, registries: Record<string, RegistryOptions>): Endpoint {
  const groups =
    /^(?:(?<scheme>https?):\/\/)?(?<host>[^/@?#\s]+)(?:\/(?<prefix>(?:[a-z0-9][a-z0-9._/-]*)?))?$/.exec(
      text,
    )?.groups
  const host = groups?.['host']
  if (host === undefined || host.endsWith(':') || !URL.canParse(`https://${host}`)) {
    throw keelsonError('KEELSON_INVALID_OPTION', `"${printable(text)}" is not a mirror.`, {
      hint: 'Write [http[s]://]host[:port][/prefix]; credentials go into the options of the host.',
    })
  }
  const name = registryName(host)
  const scheme = groups?.['scheme']
  const prefix = (groups?.['prefix'] ?? '').replace(/^\/+|\/+$/g, '')
  return {
    registry: name,
    host: name === HUB ? HUB_HOST : name,
    prefix: prefix === '' ? '' : `${prefix}/`,
    schemes: scheme === 'http' || scheme === 'https' ? [scheme] : schemesOf(name, registries[name]),
    mirror: true,
  }
}

/** The one name for a registry's host, however it was written. */
export function registryName(host: string): string {
  const lower = host.toLowerCase()
  return HUB_ALIASES.has(lower) ? HUB : lower
}

/** Options by canonical name. */
export function normalizeRegistries(
  registries: Record<string, RegistryOptions>,
): Record<string, RegistryOptions> {
  const named = Object.entries(registries).map(([host, options]): [string, RegistryOptions] => [
    registryName(host),
    options,
  ])
  return Object.fromEntries(named)
}

/** Whether certificates of this host go unchecked. */
export function isInsecure(name: string, options: RegistryOptions | undefined): boolean {
  return options?.insecure ?? (options?.ca === undefined && isLoopback(name))
}

function schemesOf(name: string, options: RegistryOptions | undefined): Scheme[] {
  return isInsecure(name, options) ? ['https', 'http'] : ['https']
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/** Whether `host` or `host:port` names this machine. */
export function isLoopback(host: string): boolean {
  const url = `http://${host}`
  if (!URL.canParse(url)) return false
  const { hostname } = new URL(url)
  const address = hostname.replace(/^\[|\]$/g, '')
  const version = isIP(address)
  if (version === 0) return address === 'localhost'
  return LOOPBACK.check(address, version === 6 ? 'ipv6' : 'ipv4')
}
