/**
 * On which networks a container is at the moment: a file in the directory of its run. At a start it is written before the container is
 * there; then by its monitor alone, which is who makes and takes away the links. Whoever starts a container on networks, or changes
 * them, holds the lock beside it.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, storageError } from '../../store/errno.ts'
import { formatAddress, parseAddress } from '../addresses/address.ts'
import type { PublishedPort } from '../firewall/ports.ts'
import { interfaceName, type Endpoint } from './endpoint.ts'
import type { Claims } from './plan.ts'

export interface Attached {
  endpoints: AttachedEndpoint[]
  /** With the numbers of those that were to be free ones. */
  ports: PublishedPort[]
  /** The next interface's number: a name that was another's in this run is not used again. */
  nextIndex: number
}

export interface AttachedEndpoint {
  /** Its id. */
  network: string
  name: string
  addresses: string[]
  mac: string
  index: number
  /** `eth<n>` */
  interface: string
  priority: number
  aliases: readonly string[]
  claims: Claims
}

/** @param run directory of the container's run */
export function attachedLock(run: string): string {
  return join(run, 'network.lock')
}

export function attachedFile(run: string): string {
  return join(run, 'network.json')
}

/** `undefined`: it was not started on networks. */
export function readAttached(run: string): Attached | undefined {
  try {
    return JSON.parse(readFileSync(attachedFile(run), 'utf8')) as Attached
  } catch (error) {
    // One that a crash left half-written is of a container that was not started.
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw storageError(error, 'read', attachedFile(run))
  }
}

/** As it fails: the container may be removed at the same time, which is for the caller to find out. */
export function writeAttached(run: string, attached: Attached): void {
  writeFileSync(attachedFile(run), encodeAttached(attached), { mode: 0o600 })
}

/** Before anything is claimed for a new start. */
export function forgetAttached(run: string): void {
  rmSync(attachedFile(run), { force: true })
}

export function encodeAttached(attached: Attached): string {
  return JSON.stringify(attached)
}

export function attachedEndpoint(
  endpoint: Endpoint & { aliases: readonly string[]; claims: Claims },
): AttachedEndpoint {
  const { network, addresses, mac, index, priority, aliases, claims } = endpoint
  return {
    network: network.id,
    name: network.name,
    addresses: addresses.map(formatAddress),
    mac,
    index,
    interface: interfaceName(endpoint),
    priority,
    aliases,
    claims,
  }
}

/** The other way round, but for the network and the container. */
export function endpointOf({
  addresses,
  mac,
  index,
  priority,
  aliases,
  claims,
}: AttachedEndpoint): Omit<Endpoint, 'network' | 'container'> & {
  aliases: readonly string[]
  claims: Claims
} {
  return {
    addresses: addresses.map(parseAddress).filter((address) => address !== undefined),
    mac,
    index,
    priority,
    aliases,
    claims,
  }
}
