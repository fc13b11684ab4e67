/**
 * Addresses of containers: a file each, made by exclusive creation, so that an address has one owner however many processes want it.
 */
import { linkSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { keelsonError } from '../../errors.ts'
import { errnoOf, storageError } from '../../store/errno.ts'
import {
  contains,
  formatAddress,
  formatPrefix,
  nth,
  parseAddress,
  sizeOf,
  type Address,
} from './address.ts'
import type { Subnet } from '../network-options.ts'

/**
 * Claims an address of the subnet's range for a container.
 *
 * Not the lowest free one: those that were used last are tried last, because others may still remember whose they were.
 *
 * @param directory of the network's addresses
 * @param wanted this one and no other
 * @returns the address, and the file that holds it: removing that gives the address back
 * @throws `KEELSON_ADDRESS_IN_USE` with the `container` that has it, `KEELSON_NO_ADDRESS`
 */
export async function claimAddress(
  directory: string,
  subnet: Subnet,
  container: Claimant,
  wanted?: Address,
): Promise<{ address: Address; file: string }> {
  // Linked to its name whole, so that nobody reads a claim without its owner; with whom it goes when this program is killed.
  const temporary = join(container.owner, `.claim-${randomBytes(8).toString('hex')}`)
  // Synchronous, on the way of every start: each of these calls takes less time than a turn of the event loop.
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    writeFileSync(temporary, encodeClaim(container), { mode: 0o600 })
  } catch (error) {
    throw storageError(error, 'write', temporary)
  }
  try {
    if (wanted !== undefined) return await claimThat(directory, subnet, temporary, wanted)
    return claimAny(directory, subnet, temporary)
  } finally {
    rmSync(temporary, { force: true })
  }
}

/** Whose an address is to be. */
export interface Claimant {
  id: string
  /** A directory that is there as long as somebody may start or run the container. */
  owner: string
  /** The hardware address that was asked for. */
  mac?: string | undefined
}

/** The container that has an address. */
export async function ownerOf(directory: string, address: Address): Promise<string | undefined> {
  return (await readClaim(join(directory, formatAddress(address))))?.container
}

/** An address that is a container's. */
export interface AddressClaim {
  address: Address
  container: string
  owner: string
  mac?: string
  file: string
}

/** Every address that is claimed, with its container. */
export async function claimedAddresses(directory: string): Promise<AddressClaim[]> {
  const names = await readdir(directory).catch(() => [])
  const claims = await Promise.all(
    names.map(async (name) => {
      const address = parseAddress(name)
      const file = join(directory, name)
      const claim = address && (await readClaim(file))
      return address && claim ? [{ address, ...claim, file }] : []
    }),
  )
  return claims.flat()
}

function encodeClaim({ id, owner, mac = '' }: Claimant): string {
  return `${id}\n${owner}\n${mac}\n`
}

async function readClaim(
  path: string,
): Promise<Pick<AddressClaim, 'container' | 'owner' | 'mac'> | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  const [container, owner, mac] = text?.split('\n') ?? []
  return container && owner ? { container, owner, ...(mac && { mac }) } : undefined
}

/** @throws `KEELSON_INVALID_OPTION` unless a container may have that address */
export function checkWanted(subnet: Subnet, address: Address): void {
  if (contains(subnet.prefix, address) && usable(subnet, address)) return
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    `The address ${formatAddress(address)} is not one for containers of ${formatPrefix(subnet.prefix)}.`,
    { option: 'ip', hint: 'It must lie within the subnet, and not be its gateway or broadcast.' },
  )
}

async function claimThat(directory: string, subnet: Subnet, temporary: string, address: Address) {
  checkWanted(subnet, address)
  const text = formatAddress(address)
  const file = take(directory, temporary, address)
  if (file !== undefined) return { address, file }
  throw keelsonError('KEELSON_ADDRESS_IN_USE', `The address ${text} is in use.`, {
    address: text,
    container: await ownerOf(directory, address),
    hint: 'Remove or stop that container, or choose another address.',
  })
}

function claimAny(directory: string, subnet: Subnet, temporary: string) {
  const { range } = subnet
  const size = sizeOf(range)
  const names = readdirSync(directory)
  // By their names alone: with many containers, reading each claim would be most of a start.
  const offsets = names.flatMap((name) => {
    const address = parseAddress(name)
    return address && contains(range, address) ? [address.value - range.value] : []
  })
  const last = offsets.reduce((highest, offset) => (offset > highest ? offset : highest), 0n)
  for (let step = 1n; step <= size; step++) {
    const address = nth(range, (last + step) % size)
    if (!usable(subnet, address)) continue
    const file = take(directory, temporary, address)
    if (file !== undefined) return { address, file }
  }
  throw keelsonError('KEELSON_NO_ADDRESS', `No address of ${formatPrefix(range)} is free.`, {
    hint: 'Remove containers of that network, or make one with a larger subnet.',
  })
}

/** Not the network's own address, nor the host's, nor the broadcast. */
function usable({ prefix, gateway }: Subnet, { family, value }: Address): boolean {
  const last = prefix.value + sizeOf(prefix) - 1n
  return value !== prefix.value && value !== gateway.value && (family === 6 || value !== last)
}

function take(directory: string, temporary: string, address: Address): string | undefined {
  const file = join(directory, formatAddress(address))
  try {
    linkSync(temporary, file)
    return file
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return undefined
    throw storageError(error, 'create', file)
  }
}
