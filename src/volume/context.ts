import type { Helper } from '../runtime/protocol.ts'
import type { Emit } from '../util/emit.ts'
import type { VolumeUser } from './claims.ts'
import type { VolumeDriver } from './driver.ts'
import type { VolumeEvents } from './events.ts'
import type { VolumePlaces } from './places.ts'

/** What volumes need of their engine. */
export interface VolumesContext {
  helper: Helper
  places: VolumePlaces
  /** Beside `local`, by name. */
  drivers: ReadonlyMap<string, VolumeDriver>
  /** Whether device nodes in archives are made: not by an ordinary user. */
  devices: 'create' | 'skip'
  owners: 'keep' | 'squash'
  /** Whether this engine knows that the container has ended, although what it had is still being removed. */
  isOver: (user: VolumeUser) => boolean
  warn: (code: string, message: string) => void
  /** Hears what happens to volumes. */
  emit: Emit<VolumeEvents>
}
