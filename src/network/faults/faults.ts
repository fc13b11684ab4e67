import type { NetworkRecord } from '../record.ts'
import { NetworkFaults, type FaultsContext } from './network-faults.ts'

/** The faults that this program has made, by network. */
export class Faults {
  readonly #context: FaultsContext
  readonly #networks = new Map<string, NetworkFaults>()

  constructor(context: FaultsContext) {
    this.#context = context
  }

  of(network: { record: NetworkRecord; ready(): Promise<void> }): NetworkFaults {
    const { id } = network.record
    const faults = this.#networks.get(id) ?? new NetworkFaults(this.#context, network)
    this.#networks.set(id, faults)
    return faults
  }

  /** Somebody has come to this network. */
  async follow(network: string): Promise<void> {
    await this.#networks.get(network)?.follow()
  }

  /** Of a network that is no more, or of all. */
  async end(network?: string): Promise<void> {
    const ids = network === undefined ? [...this.#networks.keys()] : [network]
    await Promise.all(ids.map(async (id) => await this.#networks.get(id)?.end()))
    for (const id of ids) this.#networks.delete(id)
  }
}
