import type { ContainerEvents } from './container/events.ts'

/** What happens in an engine, by name. Listeners are called in this process only, and must not throw. */
export type EngineEvents = ContainerEvents
