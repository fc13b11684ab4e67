import { setTimeout as sleep } from 'node:timers/promises'
import { keelsonError } from '../../errors.ts'
import { throwIfAborted } from '../../util/abort.ts'
import { formatAddress } from '../addresses/address.ts'
import { claimedAddresses } from '../addresses/ipam.ts'
import type { NetworkPlaces } from '../places.ts'
import type { NetworkRecord } from '../record.ts'
import { readConnections, type Connection } from './connections.ts'
import type { Station } from './fault.ts'
import { HOST, readPlaces, type FindContainer, type Place } from './members.ts'
import type { Reset } from './plan.ts'

/** The kernel answers what does not fit into a connection at most twice a second. */
const AGAIN_MS = 600
const LOOK_MS = 5
const PATIENCE_MS = 6000

/**
 * Ends the TCP connections between pairs of members, for both ends as if the other had sent a RST.
 *
 * @param hold brings it about that what both ends send of these connections comes to the helper
 * @returns how many
 * @throws `KEELSON_TIMEOUT`, `KEELSON_ABORTED`
 */
export async function endConnections(
  context: { places: NetworkPlaces; container: FindContainer },
  record: NetworkRecord,
  pairs: readonly [Station, Station][],
  options: {
    hold: (resets: readonly Reset[]) => Promise<void>
    signal?: AbortSignal | undefined
  },
): Promise<number> {
  const found = await Promise.all(pairs.map((pair) => findPair(context, record, pair)))
  const count = (await Promise.all(found.map(connectionsOf))).flat().length
  if (count === 0) return 0
  const { hold, signal } = options
  const begin = Date.now()
  try {
    let asked = 0
    for (;;) {
      const left = await Promise.all(
        found.map(async (each): Promise<Reset> => {
          return { pair: each.pair, connections: await connectionsOf(each) }
        }),
      )
      const resets = left.filter(({ connections }) => connections.length > 0)
      if (resets.length === 0) return count
      throwIfAborted(signal, 'Resetting connections')
      if (Date.now() - begin > PATIENCE_MS) throw stuck(record, resets)
      if (Date.now() - asked > AGAIN_MS) {
        await hold(resets)
        asked = Date.now()
      } else await sleep(LOOK_MS)
    }
  } finally {
    await hold([])
  }
}

/** Two members, with what it takes to tell which connections are theirs. */
interface Pair {
  pair: [Station, Station]
  ends: { pid: number; own: string[]; isOther: (address: string) => boolean }[]
}

async function findPair(
  { places, container }: { places: NetworkPlaces; container: FindContainer },
  record: NetworkRecord,
  pair: [Station, Station],
): Promise<Pair> {
  const claims = await claimedAddresses(places.addresses(record.id))
  const members = new Set(claims.map(({ address }) => formatAddress(address)))
  const where = await readPlaces(places, record, pair)
  const ends = await Promise.all(
    pair.map(async (station, index) => {
      const { pid } =
        station === HOST ? { pid: 0 } : await container(station).catch(() => ({ pid: 0 }))
      const other = pair[1 - index] ?? HOST
      const isOther = (address: string) =>
        other === HOST ? !members.has(address) : addressesOf(where.get(other)).includes(address)
      return { pid, own: addressesOf(where.get(station)), isOther }
    }),
  )
  return { pair, ends }
}

/** As the packets of the pair's first name them. */
async function connectionsOf({ ends }: Pair): Promise<Reset['connections']> {
  const all = await Promise.all(
    ends.map(async ({ pid, own, isOther }, index) => {
      const connections = pid === 0 ? [] : await readConnections(pid)
      return connections
        .filter(({ local, remote }) => own.includes(local) && isOther(remote))
        .map((connection) => named(connection, index === 1))
    }),
  )
  return [...new Map(all.flat().map((each) => [each.join(' '), each])).values()]
}

function named(connection: Connection, turned: boolean): Reset['connections'][0] {
  const { local, localPort, remote, remotePort } = connection
  return turned ? [remote, remotePort, local, localPort] : [local, localPort, remote, remotePort]
}

function addressesOf(place: Place | undefined): string[] {
  return place?.addresses ?? []
}

function stuck({ name }: NetworkRecord, resets: readonly Reset[]) {
  const connections = resets.flatMap((reset) =>
    reset.connections.map(([source, from, destination, to]) => {
      return `${source} ${from} - ${destination} ${to}`
    }),
  )
  return keelsonError('KEELSON_TIMEOUT', `Connections of the network ${name} could not be reset.`, {
    connections,
    hint: 'A firewall inside of a container may keep it from answering; end the program there.',
  })
}
