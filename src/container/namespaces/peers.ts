/** The containers whose namespaces another one joins. */
import { keelsonError, KeelsonError } from '../../errors.ts'
import type { ContainerStatus } from '../../runtime/monitor-protocol.ts'
import type { NormalizedContainer } from '../normalize/normalize.ts'
import { hostnameOf } from './hostname.ts'
import { isShare } from './options.ts'

/** A container as those that join it see it. */
export interface Peer {
  id: string
  name: string
  status: ContainerStatus
  /** Of its process 1; 0 when it has none. */
  pid: number
  /** Path of its `state.json`. */
  state: string
  /** Directory of its monitor, and of the files for its /etc. */
  directory: string
  options: NormalizedContainer
}

/** Finds a container by name, id or prefix. @throws `KEELSON_CONTAINER_NOT_FOUND`, `KEELSON_CONTAINER_AMBIGUOUS` */
export type FindPeer = (reference: string) => Promise<Peer>

const KINDS = ['pid', 'ipc', 'uts', 'network'] as const

/** By the option that names it. */
export type Peers = Partial<Record<(typeof KINDS)[number], Peer>>

/** What joining others comes to. */
export interface Joined<Options extends NormalizedContainer> {
  peers: Peers
  /** The options with what the others have decided. */
  options: Options
  /** Directory with the files for /etc, where they are not its own. */
  etc: string | undefined
}

/** Puts ids in the place of names: who is meant does not change when a container is renamed. */
export async function pinPeers<Options extends NormalizedContainer>(
  options: Options,
  find: FindPeer,
): Promise<Options> {
  const pinned = { ...options }
  for (const kind of KINDS) {
    const value = options[kind]
    if (!isShare(value)) continue
    const { id, name, options: theirs } = await find(value.container)
    if (kind === 'ipc' && theirs.ipc === 'none') {
      throw keelsonError('KEELSON_INVALID_OPTION', `The container ${name} has ipc 'none'.`, {
        option: 'ipc',
        container: id,
        hint: 'It has no /dev/shm that could be shared; create it with another ipc.',
      })
    }
    pinned[kind] = { container: id }
  }
  return pinned
}

/**
 * Looks up the others. One that is no more is left out: it counts when the container is to be started.
 *
 * @param hostname what the host is called
 */
export async function findPeers<Options extends NormalizedContainer>(
  options: Options,
  find: FindPeer,
  hostname: string,
): Promise<Joined<Options>> {
  const peers: Peers = {}
  const effective = { ...options }
  for (const kind of KINDS) {
    const value = options[kind]
    if (!isShare(value)) continue
    const peer = await find(value.container).catch((error: unknown) => {
      if (KeelsonError.is(error) && error.code === 'KEELSON_CONTAINER_NOT_FOUND') return undefined
      throw error
    })
    if (peer?.options[kind] === 'host') effective[kind] = 'host'
    else if (peer !== undefined) peers[kind] = peer
  }
  const named = peers.uts ?? peers.network
  if (named !== undefined && options.hostname === undefined) {
    const joined = await findPeers(named.options, find, hostname)
    effective.hostname = hostnameOf(named.id, joined.options, hostname)
  }
  return { peers, options: effective, etc: await etcOf(peers.network, find) }
}

/** @throws `KEELSON_CONTAINER_STATE` unless all whose namespaces are joined have a process; `KEELSON_CONTAINER_NOT_FOUND` */
export async function mustHavePeers(options: NormalizedContainer, find: FindPeer): Promise<void> {
  for (const kind of KINDS) {
    const value = options[kind]
    if (!isShare(value)) continue
    const { id, name, status, pid } = await find(value.container)
    if (pid !== 0 && ['running', 'paused', 'stopping'].includes(status)) continue
    throw keelsonError(
      'KEELSON_CONTAINER_STATE',
      `Cannot join the ${kind} namespace of the container ${name}: it is ${status}.`,
      {
        container: id,
        containerStatus: status,
        option: kind === 'network' ? 'networks' : kind,
        hint: `Start ${name} first.`,
      },
    )
  }
}

/** Along the others whose network it is in turn. */
async function etcOf(peer: Peer | undefined, find: FindPeer): Promise<string | undefined> {
  if (peer === undefined) return undefined
  const next = peer.options.network
  if (!isShare(next)) return peer.directory
  const { peers } = await findPeers(peer.options, find, '')
  return (await etcOf(peers.network, find)) ?? peer.directory
}
