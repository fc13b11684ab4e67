/** What every event of a network tells of it. */
export interface AboutNetwork {
  /** Its id. */
  network: string
  name: string
  driver: 'bridge' | 'macvlan'
  labels: Record<string, string>
}

/** What happens to networks, by name, with what is told of it. */
export interface NetworkEvents {
  'network.create': [event: AboutNetwork]
  'network.remove': [event: AboutNetwork]
  /** After the `network.remove` of each that was removed. */
  'network.prune': [event: { networks: string[] }]
}

/** Every name, each once. */
export const NETWORK_EVENTS: Record<keyof NetworkEvents, true> = {
  'network.create': true,
  'network.remove': true,
  'network.prune': true,
}
