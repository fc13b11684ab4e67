/** What every event of a volume tells of it. */
export interface AboutVolume {
  /** Its name. */
  volume: string
  driver: string
  labels: Record<string, string>
}

/** What happens to volumes, by name, with what is told of it. */
export interface VolumeEvents {
  /** Also when a container that mounts it was the first to name it, and when a volume was cloned. */
  'volume.create': [event: AboutVolume]
  /** Also when one without a name goes with its container. */
  'volume.remove': [event: AboutVolume]
  /** After the `volume.remove` of each that was removed. */
  'volume.prune': [event: { volumes: string[]; bytes: number }]
}

/** Every name, each once. */
export const VOLUME_EVENTS: Record<keyof VolumeEvents, true> = {
  'volume.create': true,
  'volume.remove': true,
  'volume.prune': true,
}
