/** Namespaces in the words of the OCI runtime specification. Pure. */
import type { NormalizedContainer } from '../normalize/normalize.ts'
import type { OciLinux, PeerPlan } from '../config/oci-runtime.ts'
import { isShare, type UserMappings } from './options.ts'
import type { Peers } from './peers.ts'

/** By the names of options, those of the specification and of /proc/<pid>/ns. */
const KINDS = [
  { option: 'network', type: 'network', file: 'net' },
  { option: 'pid', type: 'pid', file: 'pid' },
  { option: 'ipc', type: 'ipc', file: 'ipc' },
  { option: 'uts', type: 'uts', file: 'uts' },
] as const

/** New ones, those of others by path, and not those of the host. */
export function planNamespaces(
  options: NormalizedContainer,
  peers: Peers,
  userns: UserMappings | undefined,
): Pick<OciLinux, 'namespaces' | 'uidMappings' | 'gidMappings'> {
  const planned = KINDS.flatMap(({ option, type, file }) => {
    const value = options[option]
    if (value === 'host') return []
    // Where it was when this was looked up: who joins it looks again, see `planPeers`.
    if (isShare(value)) return [{ type, path: `/proc/${peers[option]?.pid ?? 0}/ns/${file}` }]
    return [{ type }]
  })
  return {
    namespaces: [
      { type: 'mount' },
      { type: 'cgroup' },
      ...(userns === undefined ? [] : [{ type: 'user' }]),
      ...planned,
    ],
    ...(userns !== undefined && {
      uidMappings: userns.uidMappings,
      gidMappings: userns.gidMappings,
    }),
  }
}

/** Whom the helper has to find when it starts the container: a number in a path may mean another process by then. */
export function planPeers(peers: Peers): PeerPlan[] {
  const plans = new Map<string, PeerPlan>()
  for (const { option, type } of KINDS) {
    const peer = peers[option]
    if (peer === undefined) continue
    const plan = plans.get(peer.id) ?? {
      namespaces: [],
      state: peer.state,
      directory: peer.directory,
      shm: false,
    }
    plan.namespaces.push(type)
    plan.shm ||= option === 'ipc'
    plans.set(peer.id, plan)
  }
  return [...plans.values()]
}
