import { keelsonError } from '../../errors.ts'
import type { Duration } from '../../util/duration.ts'
import type { NetworkFault } from './fault.ts'
import { normalizeLink, type Bandwidth, type LinkOptions, type NormalizedLink } from './options.ts'

/** Brings a link's faults about. */
export type ApplyLink = (
  link: NormalizedLink,
  options: { signal?: AbortSignal | undefined },
) => Promise<NetworkFault>

/**
 * Faults of a link between two members of a network, said one after the other; {@link NetworkLink.apply} brings them about. Nothing of it
 * changes: each word makes another one.
 *
 * @example
 * ```ts
 * import { Engine } from 'keelson'
 *
 * await using engine = await Engine.open()
 * const network = await engine.networks.get('backend')
 * const slow = network.link('app', 'database').latency('200ms', { jitter: '20ms' }).loss('1%')
 * await using fault = await slow.apply()
 * ```
 */
export class NetworkLink {
  readonly #options: LinkOptions
  readonly #normalized: NormalizedLink
  readonly #apply: ApplyLink

  /** @internal use {@link Network.link} */
  constructor(options: LinkOptions, apply: ApplyLink) {
    this.#normalized = normalizeLink(options)
    this.#options = options
    this.#apply = apply
  }

  /**
   * Every packet arrives this much later, give or take `jitter`.
   *
   * @throws `KEELSON_INVALID_OPTION`
   */
  latency(latency: Duration, { jitter = 0 }: { jitter?: Duration } = {}): NetworkLink {
    return this.#with({ latency, jitter })
  }

  /**
   * This part of packets does not arrive: 0 to 1, or text as `10%`.
   *
   * @throws `KEELSON_INVALID_OPTION`
   */
  loss(loss: number | string): NetworkLink {
    return this.#with({ loss })
  }

  /**
   * What passes in each direction: bits a second, or text as `1mbit`.
   *
   * @throws `KEELSON_INVALID_OPTION`
   */
  bandwidth(bandwidth: Bandwidth): NetworkLink {
    return this.#with({ bandwidth })
  }

  /** The TCP connections that there are when it is applied end, as if each side had sent a RST. New ones are not hindered. */
  reset(): NetworkLink {
    return this.#with({ reset: true })
  }

  /**
   * Brings it about. It adds to what other faults there are: latencies add up, each loss and each bandwidth counts.
   *
   * @returns the fault, to be healed
   * @throws `KEELSON_INVALID_OPTION` when nothing was asked for, `KEELSON_CONTAINER_NOT_FOUND`, `KEELSON_NETWORK_NOT_CONNECTED`,
   *   `KEELSON_UNSUPPORTED` with the `feature` that this kernel lacks, `KEELSON_NETWORK_NOT_FOUND`, `KEELSON_TIMEOUT` when connections
   *   could not be reset, `KEELSON_ABORTED`
   */
  async apply(options: { signal?: AbortSignal } = {}): Promise<NetworkFault> {
    const { latency, loss, rate, reset } = this.#normalized
    if (latency === 0 && loss === 0 && rate === undefined && !reset) {
      throw keelsonError('KEELSON_INVALID_OPTION', 'The link is to have no fault.', {
        option: 'link',
        hint: 'Say latency(), loss(), bandwidth() or reset() first.',
      })
    }
    return await this.#apply(this.#normalized, options)
  }

  #with(options: LinkOptions): NetworkLink {
    return new NetworkLink({ ...this.#options, ...options }, this.#apply)
  }
}
