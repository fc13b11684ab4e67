/** What every event of a network tells of it. */
export interface AboutNetwork {
  /** Its id. */
  network: string
  name: string
  driver: 'bridge' | 'macvlan'
  labels: Record<string, string>
}

/** What is told of who joins or leaves a network. */
export interface AboutMember extends AboutNetwork {
  /** Its id. */
  container: string
  containerName: string
}

/** What happens to networks, by name, with what is told of it. */
export interface NetworkEvents {
  'network.create': [event: AboutNetwork]
  'network.remove': [event: AboutNetwork]
  /** A container was put on it; one that does not run joins when it starts. */
  'network.connect': [event: AboutMember]
  /** A container was taken off it. */
  'network.disconnect': [event: AboutMember]
  /** After the `network.remove` of each that was removed. */
  'network.prune': [event: { networks: string[] }]
}

/** Every name, each once. */
export const NETWORK_EVENTS: Record<keyof NetworkEvents, true> = {
  'network.create': true,
  'network.remove': true,
  'network.connect': true,
  'network.disconnect': true,
  'network.prune': true,
}
