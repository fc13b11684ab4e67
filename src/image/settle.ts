import type { Digest } from '../oci/digest.ts'
import type { Snapshotter } from '../snapshot/snapshotter.ts'

/** By then the kernel has written most of a new snapshot by itself. */
const DELAY_MS = 30_000

/** Puts snapshots on the disk some time after they were made, so that no pull waits for it. */
export class Settler {
  readonly #snapshotter: Snapshotter
  readonly #waiting = new Set<Digest>()
  #timer: NodeJS.Timeout | undefined

  constructor(snapshotter: Snapshotter) {
    this.#snapshotter = snapshotter
  }

  /** The timer keeps nobody alive: what a short program does not settle, the next one does, or the next boot unpacks again. */
  later(chain: readonly Digest[]): void {
    for (const chainId of chain) this.#waiting.add(chainId)
    if (this.#timer !== undefined || this.#waiting.size === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const chains = [...this.#waiting]
      this.#waiting.clear()
      // All that a failure costs is that work after a power cut; a removed snapshot needs none.
      this.#snapshotter.settle(chains).catch(() => undefined)
    }, DELAY_MS)
    this.#timer.unref()
  }
}
