import type { NormalizedLink } from './options.ts'

/** A container's id, or the host. */
export type Station = string

/** What {@link NetworkFault}s are to the planner. */
export type FaultPlan = { id: string; pairs: [Station, Station][] } & (
  { kind: 'partition'; reject: boolean } | ({ kind: 'link' } & Omit<NormalizedLink, 'reset'>)
)

/**
 * A fault that is in force until it is healed, the network is removed, or the program ends, however it ends. Disposing of it heals it.
 *
 * @example
 * ```ts
 * import { Engine } from 'keelson'
 *
 * await using engine = await Engine.open()
 * const network = await engine.networks.get('backend')
 * {
 *   await using fault = await network.partition(['app'], ['database'])
 *   // They do not hear of each other here.
 * }
 * ```
 */
export class NetworkFault implements AsyncDisposable {
  readonly #heal: () => Promise<void>
  #healed: Promise<void> | undefined
  /** TCP connections that were ended when it came into force. */
  readonly resetConnections: number

  /** @internal use {@link Network.partition} or {@link Network.link} */
  constructor(heal: () => Promise<void>, resetConnections = 0) {
    this.#heal = heal
    this.resetConnections = resetConnections
  }

  /** Resolves when packets pass as before; packets that are delayed still arrive late. A second call does nothing. */
  async heal(): Promise<void> {
    this.#healed ??= this.#heal()
    await this.#healed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.heal()
  }
}
