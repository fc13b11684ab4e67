import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { keelsonError } from '../errors.ts'
import { parseDocument, type DocumentNode } from '../oci/document.ts'
import { converting, errnoOf, storageError } from '../store/errno.ts'
import { writeRecord } from '../store/records.ts'
import {
  formatAddress,
  formatPrefix,
  parseAddress,
  parsePrefix,
  type Address,
} from './addresses/address.ts'
import type { Subnet } from './network-options.ts'
import type { AboutNetwork } from './events.ts'
import type { NetworkPlaces } from './places.ts'

/** All that is known of a network: `<name>.json`. */
export interface NetworkRecord {
  /** 64 hexadecimal digits. */
  id: string
  name: string
  driver: 'bridge' | 'macvlan'
  parent?: string
  /** RFC 3339. */
  createdAt: string
  subnets: Subnet[]
  internal: boolean
  interContainer: boolean
  mtu?: number
  labels: Record<string, string>
}

const MAX_BYTES = 1024 * 1024

/** The host's interface of the network: names of links have 15 characters. */
export function bridgeName(id: string): string {
  return `kl-${id.slice(0, 12)}`
}

export async function saveNetwork(places: NetworkPlaces, record: NetworkRecord): Promise<void> {
  const subnets = record.subnets.map(({ prefix, gateway, range }) => {
    return {
      prefix: formatPrefix(prefix),
      gateway: formatAddress(gateway),
      range: formatPrefix(range),
    }
  })
  await writeRecord(
    places.record(record.name),
    JSON.stringify({ version: 1, ...record, subnets }),
    { durable: true },
  )
}

/** `undefined` when there is none. @throws `KEELSON_NETWORK_RECORD` */
export async function loadNetwork(
  places: NetworkPlaces,
  name: string,
): Promise<NetworkRecord | undefined> {
  const path = places.record(name)
  const bytes = read(path)
  if (bytes === undefined) {
    known.delete(path)
    return undefined
  }
  const before = known.get(path)
  if (before?.bytes.equals(bytes)) return before.record
  const record = decode(bytes, path)
  known.set(path, { bytes, record })
  return record
}

/** Synchronous, on the way of every start: reading a small local file takes less time than a turn of the event loop. */
function read(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw storageError(error, 'read', path)
  }
}

/** By path, what was read there last: every start needs one, and every new network all of them. */
const known = new Map<string, { bytes: Buffer; record: NetworkRecord }>()

export async function loadNetworks(places: NetworkPlaces): Promise<NetworkRecord[]> {
  const files = await converting('read', places.records, async () => {
    try {
      return await readdir(places.records)
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return []
      throw error
    }
  })
  const names = files.filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -5))
  const records = await Promise.all(names.map((name) => loadNetwork(places, name)))
  return records.filter((record) => record !== undefined)
}

function decode(bytes: Uint8Array, path: string): NetworkRecord {
  try {
    const node = parseDocument(bytes, 'network record', MAX_BYTES)
    if (node.required('version').integer() !== 1) throw new Error('It has another version.')
    return {
      ...(node.value as NetworkRecord),
      id: node.required('id').string(),
      name: node.required('name').string(),
      subnets: node.required('subnets').elements(2).map(subnet),
      labels: node.required('labels').strings(65536),
    }
  } catch (cause) {
    throw keelsonError('KEELSON_NETWORK_RECORD', `The record ${path} cannot be read.`, {
      cause,
      path,
      hint: 'A newer version wrote it, or the disk damaged it; the cause says what is wrong with it.',
    })
  }
}

function subnet(node: DocumentNode): Subnet {
  return {
    prefix: parsePrefix(node.required('prefix').string(), 'subnets'),
    gateway: address(node.required('gateway')),
    range: parsePrefix(node.required('range').string(), 'subnets.range'),
  }
}

function address(node: DocumentNode): Address {
  const parsed = parseAddress(node.string())
  if (parsed === undefined) throw node.invalid('is no address')
  return parsed
}

/** What every event tells of it. */
export function aboutNetwork({ id, name, driver, labels }: NetworkRecord): AboutNetwork {
  return { network: id, name, driver, labels }
}
