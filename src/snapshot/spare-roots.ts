import { randomBytes } from 'node:crypto'
import type { Digest } from '../oci/digest.ts'
import type { Arguments, Helper } from '../runtime/protocol.ts'
import type { PreparedRootfs } from './snapshotter.ts'

/** A root file system that could be made, and how. */
export interface SpareRoot {
  prepared: PreparedRootfs
  order: Arguments<'spare'>
}

/**
 * One root file system made ahead of its time, by the helper, for the next container of the image that was run last: nothing of a run
 * takes the kernel longer. It is never waited for, and what goes wrong with it is no failure: then a run makes its own.
 */
export class SpareRoots implements AsyncDisposable {
  readonly #helper: Helper
  #lastChain: string | undefined
  #ready: { chain: string; root: SpareRoot } | undefined
  #making: Promise<void> | undefined
  #ended = false

  constructor(helper: Helper) {
    this.#helper = helper
  }

  /** The one for these layers, if it is there. It belongs to the caller. */
  take(chain: readonly Digest[]): PreparedRootfs | undefined {
    const ready = this.#ready
    if (ready?.chain !== chain.join()) return undefined
    this.#ready = undefined
    return ready.root.prepared
  }

  /**
   * Makes one for these layers, if they were asked for the last time, too.
   *
   * @param plan of a writable layer with this name; `undefined`: it cannot be made so
   */
  foresee(chain: readonly Digest[], plan: (name: string) => SpareRoot | undefined): void {
    const wanted = chain.join()
    const again = wanted === this.#lastChain
    this.#lastChain = wanted
    if (!again || this.#making !== undefined || this.#ready?.chain === wanted) return
    // After what the caller is about to ask for, whose way this must not stand in.
    setImmediate(() => {
      if (this.#ended || this.#making !== undefined) return
      const root = plan(`spare-${randomBytes(8).toString('hex')}`)
      if (root === undefined) return
      this.#making = this.#make(wanted, root).finally(() => (this.#making = undefined))
    })
  }

  /** Removes what is there and not used. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    await this.#making
    await this.#discard()
  }

  async #make(chain: string, root: SpareRoot): Promise<void> {
    try {
      await this.#discard()
      await this.#helper.request('spare', root.order)
      this.#ready = { chain, root }
    } catch {
      // On an older kernel it cannot be had; a helper that has ended says so to whoever needs it.
      this.#ended = true
    }
  }

  async #discard(): Promise<void> {
    const unused = this.#ready
    this.#ready = undefined
    if (unused === undefined) return
    await this.#helper
      .request('tree.remove', { paths: [unused.root.order.directory] })
      .catch(() => {})
  }
}
