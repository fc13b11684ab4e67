/**
 * The names of a network, as files that the name services of its containers read: the file of a container, and a link to it for each of
 * its names. Without the file the links mean nothing, so whoever removes it takes all names away at once.
 *
 * Synchronous, on the way of every start: each of these calls takes less time than a turn of the event loop.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { errnoOf, storageError } from '../../store/errno.ts'
import { formatAddress, parseAddress, type Address } from '../addresses/address.ts'
import { HOST_NAME, reverseName } from './names.ts'
import type { NetworkPlaces } from '../places.ts'

/** In the place of a container's id. */
const HOST = 'host'

/**
 * Gives a container its names on a network, and its addresses the first of them.
 *
 * @returns what is to be removed when it leaves: paths, and directories (which end in `/`) where they are empty
 */
export function claimNames(
  places: NetworkPlaces,
  network: string,
  container: string,
  names: readonly string[],
  addresses: readonly Address[],
): string[] {
  const lower = names.map((name) => name.toLowerCase())
  const file = writeEndpoint(places, network, container, addresses.map(formatAddress), lower[0])
  const all = new Set([...lower, ...addresses.map(reverseName)])
  return [file, ...[...all].flatMap((name) => linkName(places, network, container, name))]
}

/** Makes the host known in a network. */
export function nameHost(
  places: NetworkPlaces,
  network: string,
  gateways: readonly string[],
): void {
  const addresses = gateways.map(parseAddress).filter((address) => address !== undefined)
  claimNames(places, network, HOST, [HOST_NAME], addresses)
}

/** What a program that was killed had begun to write of the host. Nobody else may be at it. */
export function sweepHost(places: NetworkPlaces, network: string): void {
  rmSync(endpointFile(places, network, HOST).temporary, { force: true })
}

/** Of a container that may be on the network: another name in the place of one. */
export function renameEndpoint(
  places: NetworkPlaces,
  network: string,
  container: string,
  [old, name]: [old: string, name: string],
  keepsOld: boolean,
): void {
  const addresses = readEndpoint(places, network, container)
  if (addresses === undefined) return
  writeEndpoint(places, network, container, addresses, name.toLowerCase())
  linkName(places, network, container, name.toLowerCase())
  if (!keepsOld) unlinkName(places, network, container, old.toLowerCase())
}

/** Whether somebody has that name. */
export function hasName(places: NetworkPlaces, network: string, name: string): boolean {
  const holders = entries(join(places.names(network), name))
  return holders.some((holder) => existsSync(join(places.endpoints(network), holder)))
}

/**
 * Removes names that nobody has: of containers that ended under another name than they were started with, and what a crash has left.
 * Who is about to have one makes it again.
 */
export function sweepStaleNames(places: NetworkPlaces, network: string): void {
  for (const name of entries(places.names(network))) {
    const directory = join(places.names(network), name)
    for (const holder of entries(directory)) {
      const { path } = endpointFile(places, network, holder)
      if (existsSync(path)) continue
      rmSync(join(directory, holder), { force: true })
      // It has come back in between, and found its name there still.
      if (existsSync(path)) linkName(places, network, holder, name)
    }
    removeEmpty(directory)
  }
}

/** Takes everything of a container out of a network's names. */
export function releaseNames(places: NetworkPlaces, network: string, container: string): void {
  const file = endpointFile(places, network, container)
  rmSync(file.path, { force: true })
  rmSync(file.temporary, { force: true })
  for (const name of entries(places.names(network))) {
    unlinkName(places, network, container, name)
  }
}

function writeEndpoint(
  places: NetworkPlaces,
  network: string,
  container: string,
  addresses: readonly string[],
  name = '',
): string {
  const { path, temporary } = endpointFile(places, network, container)
  try {
    mkdirSync(places.endpoints(network), { recursive: true, mode: 0o700 })
    writeFileSync(temporary, [...addresses, name, ''].join('\n'), { mode: 0o600 })
    renameSync(temporary, path)
  } catch (error) {
    throw storageError(error, 'write', path)
  }
  return path
}

/** `temporary`: until it is written to its end. */
function endpointFile(places: NetworkPlaces, network: string, container: string) {
  const directory = places.endpoints(network)
  return { path: join(directory, container), temporary: join(directory, `.${container}`) }
}

function readEndpoint(
  places: NetworkPlaces,
  network: string,
  container: string,
): string[] | undefined {
  try {
    const text = readFileSync(join(places.endpoints(network), container), 'utf8')
    return text.split('\n').filter((line) => parseAddress(line) !== undefined)
  } catch {
    return undefined
  }
}

function linkName(
  places: NetworkPlaces,
  network: string,
  container: string,
  name: string,
): string[] {
  const directory = join(places.names(network), name)
  const link = join(directory, container)
  for (;;) {
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      symlinkSync(join(places.endpoints(network), container), link)
    } catch (error) {
      // Whoever had that name last has taken the directory away just now.
      if (errnoOf(error) === 'ENOENT') continue
      if (errnoOf(error) !== 'EEXIST') throw storageError(error, 'create', link)
    }
    return [link, `${directory}/`]
  }
}

function unlinkName(places: NetworkPlaces, network: string, container: string, name: string): void {
  const directory = join(places.names(network), name)
  rmSync(join(directory, container), { force: true })
  removeEmpty(directory)
}

function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch {
    // It is somebody else's name, too.
  }
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
