import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { ImageConfig } from '../oci/image-config.ts'
import type { CgroupBase } from '../runtime/cgroup.ts'
import type { HostFacts } from '../runtime/host.ts'
import type { Launcher } from '../runtime/launcher.ts'
import type { ProbeResult, UserNamespacePlan } from '../runtime/protocol.ts'
import type { ContainerEvents } from './events/events.ts'
import type { NetworkingContext } from './config/networking.ts'
import type { FindPeer } from './namespaces/peers.ts'
import type { Standbys } from './run/standbys.ts'
import type { ContainerPlaces } from './record/places.ts'
import type { UserDatabases } from './user/user-lookup.ts'
import type { MountingContext } from './config/volumes.ts'

/** What a run needs of its engine. */
export interface RunContext extends MountingContext {
  launcher: Launcher
  users: UserDatabases
  host: HostFacts
  probe: ProbeResult
  user: UserNamespacePlan | undefined
  cgroups: CgroupBase
  networking: NetworkingContext
  places: ContainerPlaces
  /** A container that others may join. */
  peer: FindPeer
  /** Directory of this engine's containers, on tmpfs. */
  directory: string
  warn(code: string, message: string): void
  /** Tells this program and, by the journal, all others what happened to a run. */
  emit<Type extends keyof ContainerEvents>(type: Type, event: ContainerEvents[Type][0]): void
  /** Fires when the engine closes: everything that runs is killed then. */
  closing: AbortSignal
  /** What is still being removed; the engine waits for it when it closes. */
  removing: Set<Promise<void>>
  /** Containers under way, by id: the manifest each was made from. */
  running: Map<string, Descriptor>
  standbys: Standbys
}

/** As much of an image as running it takes. */
export interface RunnableImage {
  digest: Digest
  descriptor: Descriptor
  config: Pick<ImageConfig, 'config'>
  chain: readonly Digest[]
}
