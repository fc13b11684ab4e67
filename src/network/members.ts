/** A container, its name, its id, or the first digits of that. */
export type NetworkMember = string | { readonly id: string }

/** A container's place on a network. */
export interface NetworkConnectOptions {
  /** More names by which others on the network find it. */
  aliases?: string[]
  /** Its address there. Default: a free one. */
  ip?: string
  ip6?: string
  /** Hardware address. Default: one made of the address. */
  mac?: string
  /** The way to everything else goes by the network with the highest. Default 0. */
  priority?: number
  /** Until the container is being changed: from then on it is carried out to its end. */
  signal?: AbortSignal
}

export interface NetworkDisconnectOptions {
  /**
   * No error when it is not on the network, or is not there any more; and what cannot be taken away from it, as when its interface is
   * gone already, is left. Default `false`.
   */
  force?: boolean
  /** Until the container is being changed. */
  signal?: AbortSignal
}

/** Who has joined or left. */
export interface ChangedMember {
  container: string
  containerName: string
}
