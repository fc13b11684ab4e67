import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { keelsonError, KeelsonError } from '../../errors.ts'
import { helperFailure } from '../../runtime/connection.ts'
import type { Helper, ListeningHandle, SocketMaker } from '../../runtime/protocol.ts'
import { tryLock } from '../../store/lock.ts'
import { formatAddress } from '../addresses/address.ts'
import { releaseMember } from '../claims.ts'
import { planEndpoint, planRemoval, planRoutes } from '../endpoint/endpoint.ts'
import { giveBack, joinNetwork } from '../endpoint/join.ts'
import type { JoinedEndpoint } from '../endpoint/plan.ts'
import { hasName } from '../names/name-files.ts'
import type { Network } from '../network.ts'
import type { NetworkPlaces } from '../places.ts'
import { memberId } from './member-id.ts'

/** What servers in networks need of their engine. */
export interface ListenContext {
  helper: Helper & SocketMaker
  places: NetworkPlaces
  /** A directory that is there as long as this engine lives. */
  owner: string
  /** Resolves when the containers of this engine that have ended have given back what they had. */
  ending: () => Promise<unknown>
}

/** A name in a network that is this program's: a network namespace in which only sockets are, with an address from the network's own. */
export interface Member {
  addresses: readonly string[]
  listen(port: number, signal: AbortSignal | undefined): Promise<ListeningHandle>
  leave(): Promise<void>
}

/**
 * Makes a name of this program's in a network. All of it ends with this process: the namespace with its sockets; what is in files the next
 * who wants it, or the next engine that opens, takes away.
 *
 * @throws `KEELSON_NAME_IN_USE`, `KEELSON_NETWORK_NOT_FOUND`, `KEELSON_NO_ADDRESS`
 */
export async function joinAs(
  context: ListenContext,
  network: Network,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Member> {
  const { helper, places, owner } = context
  const { id } = network
  const member = `${id}/${name}`
  await network.ready()
  const path = places.server(id, name)
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  // As long as it is held, the name is this program's.
  const lock = await tryLock(helper, path, 'exclusive')
  if (lock === undefined) throw nameInUse(network, name)
  let endpoint: JoinedEndpoint | undefined
  let joined = false
  const leave = async () => {
    // The address last, when nothing answers there any more.
    await giveBack(endpoint?.claims.names ?? [])
    if (joined) await helper.request('network.leave', { member })
    const links = endpoint === undefined ? [] : planRemoval(endpoint).host
    await helper.request('network.apply', { links, firewall: [] })
    await giveBack(endpoint?.claims.addresses ?? [])
    await lock.release()
  }
  try {
    // Of a program that was killed.
    await releaseMember(context, id, memberId(name))
    await mustBeFree(context, network, name)
    const self = { id: memberId(name), owner, names: [name] }
    endpoint = await joinNetwork(places, self, { network, aliases: [] }, 0)
    const { host, inside } = planEndpoint(endpoint)
    const links = { host, inside: [...inside, ...planRoutes([endpoint]).values()] }
    await helper.request('network.join', { member, ...links }, { signal })
    joined = true
    const addresses = endpoint.addresses.map(formatAddress)
    return {
      addresses,
      async listen(port, cancel) {
        const address = listenAddress(addresses, port)
        try {
          return await helper.listen({ member, listen: address }, { signal: cancel })
        } catch (error) {
          throw portError(error, name, port)
        }
      },
      leave,
    }
  } catch (error) {
    await leave()
    throw error
  }
}

/** One socket for both families, where there are both. */
function listenAddress(addresses: readonly string[], port: number): string {
  const [first = '', second] = addresses
  const address = second === undefined ? first : '::'
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

async function mustBeFree(
  { places, ending }: ListenContext,
  network: Network,
  name: string,
): Promise<void> {
  if (!hasName(places, network.id, name)) return
  await ending()
  if (hasName(places, network.id, name)) throw nameInUse(network, name)
}

function nameInUse(network: Network, name: string): KeelsonError {
  return keelsonError(
    'KEELSON_NAME_IN_USE',
    `The name ${name} is in use in the network ${network.name}.`,
    {
      server: name,
      network: network.name,
      hint: 'A container or a server of another program has it: choose another name.',
    },
  )
}

function portError(error: unknown, name: string, port: number): unknown {
  if (helperFailure(error)?.kind !== 'port-in-use') return error
  return keelsonError('KEELSON_PORT_IN_USE', `The server ${name} has the port ${port} already.`, {
    cause: error,
    server: name,
    port,
    hint: 'Close that one, or choose another port or name.',
  })
}
