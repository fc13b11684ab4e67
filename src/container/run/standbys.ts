import type { BundleFile } from '../config/oci-runtime.ts'

/** A container that is made, or under way to it, and waits to hear which program it is for. */
export interface Standby {
  id: string
  /** Home directory of its user. */
  home: string
  /** As they are in it. */
  files: BundleFile[]
}

/** As many as are used up one after the other while the next is made. */
const DEPTH = 2

/**
 * Containers made ahead of their time, for runs like the last ones (`docs/decisions/0010-made-ahead.md`). They count as no containers, are
 * never waited for, and what goes wrong with one is no failure: then a run makes its own.
 */
export class Standbys implements AsyncDisposable {
  readonly #remove: (standby: Standby) => Promise<void>
  #lastKey: string | undefined
  #key: string | undefined
  #standbys: Standby[] = []
  #making: Promise<void> | undefined
  #ended = false

  constructor(remove: (standby: Standby) => Promise<void>) {
    this.#remove = remove
  }

  /** One for runs with this key, if there is one. It belongs to the caller. */
  take(key: string): Standby | undefined {
    return key === this.#key ? this.#standbys.shift() : undefined
  }

  /**
   * Makes one for the next run if its like was asked for the last time, too; two where the last one was of use. In place of those for
   * other runs.
   *
   * @param used the run has had one
   */
  foresee(key: string, used: boolean, make: () => Promise<Standby | undefined>): void {
    const again = key === this.#lastKey
    this.#lastKey = key
    if (!again || this.#making !== undefined) return
    // Not before what the caller has just asked for has been sent.
    setImmediate(() => {
      if (this.#ended || this.#making !== undefined) return
      this.#making = this.#fill(key, used ? DEPTH : 1, make).finally(
        () => (this.#making = undefined),
      )
    })
  }

  /** Removes those that are there and not used. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    await this.#making
    await this.#discard()
  }

  async #fill(key: string, count: number, make: () => Promise<Standby | undefined>): Promise<void> {
    if (this.#key !== key) {
      await this.#discard()
      this.#key = key
    }
    while (this.#standbys.length < count && !this.#ended) {
      const standby = await make().catch(() => undefined)
      if (standby === undefined) return
      this.#standbys.push(standby)
    }
  }

  async #discard(): Promise<void> {
    await Promise.all(this.#standbys.splice(0).map((standby) => this.#remove(standby)))
  }
}
