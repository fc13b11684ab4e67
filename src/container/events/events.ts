import type { Digest } from '../../oci/digest.ts'
import type { ContainerExit } from '../lifecycle/monitor-state.ts'

/** What every event of a container tells of it. */
export interface AboutContainer {
  /** Its id. */
  container: string
  /** Absent for what `engine.run` runs, which has none. */
  name?: string
  /** The image as it was asked for; its digest for what `engine.run` runs. */
  image: string
  digest: Digest
  labels: Record<string, string>
}

/** What happens to containers, by name, with what is told of it. */
export interface ContainerEvents {
  'container.create': [event: AboutContainer]
  /** Its program is running: for the first time, again, or after a restart. */
  'container.start': [event: AboutContainer & { pid: number }]
  /** Its program has ended (Docker's `die`). */
  'container.exit': [
    event: AboutContainer &
      ContainerExit & {
        /** Its restart policy will start it again. */
        restarting: boolean
      },
  ]
  /** The kernel killed a process of it because of its memory limit. */
  'container.oom': [event: AboutContainer]
  /** It was stopped by hand. */
  'container.stop': [event: AboutContainer]
  /** It was sent a signal by hand. */
  'container.kill': [event: AboutContainer & { signal: string }]
  /** It was restarted by hand. */
  'container.restart': [event: AboutContainer]
  'container.pause': [event: AboutContainer]
  'container.unpause': [event: AboutContainer]
  'container.rename': [event: AboutContainer & { oldName: string }]
  'container.update': [event: AboutContainer]
  /** What its health check says has changed. */
  'container.health': [event: AboutContainer & { health: 'starting' | 'healthy' | 'unhealthy' }]
  /** It is no more. */
  'container.remove': [event: AboutContainer]
}

/** Every name, each once. */
export const CONTAINER_EVENTS: Record<keyof ContainerEvents, true> = {
  'container.create': true,
  'container.start': true,
  'container.exit': true,
  'container.oom': true,
  'container.stop': true,
  'container.kill': true,
  'container.restart': true,
  'container.pause': true,
  'container.unpause': true,
  'container.rename': true,
  'container.update': true,
  'container.health': true,
  'container.remove': true,
}
