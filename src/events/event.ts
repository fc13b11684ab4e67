import type { ContainerEvents } from '../container/events/events.ts'
import type { ImageEvents } from '../image/events.ts'
import type { NetworkEvents } from '../network/events.ts'
import type { VolumeEvents } from '../volume/events.ts'

/** What happens in the engines on one `runRoot`, by name. Listeners must not throw. */
export interface EngineEvents extends ContainerEvents, ImageEvents, NetworkEvents, VolumeEvents {}

/** One of {@link EngineEvents}, with its name as `type` and when it happened as `time`. */
export type EngineEvent = {
  [Type in keyof EngineEvents]: { type: Type; time: Date } & EngineEvents[Type][0]
}[keyof EngineEvents]
