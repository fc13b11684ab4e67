import type { Digest } from '../oci/digest.ts'

/** What is happening to one layer. */
export type LayerStatus = 'waiting' | 'downloading' | 'verifying' | 'unpacking' | 'done' | 'exists'

/** One step of a pull. */
export interface PullProgress {
  /** The layer's blob. */
  layer: Digest
  status: LayerStatus
  /** Bytes of the blob: downloaded, or while `unpacking` read by it. */
  current: number
  /** Bytes that the blob has. */
  total: number
  /** Of all layers of the image together. */
  totals: PullTotals
}

export interface PullTotals {
  layers: number
  /** Layers that are `done` or `exist`ed. */
  finished: number
  /** Bytes downloaded, or here already. */
  current: number
  total: number
}

/** Between two steps of the same status lies at least a hundredth of the layer, so that listeners are not flooded. */
const STEPS = 100

/**
 * Turns what downloads and unpacking report into the events of one pull: for each layer `waiting` first, `done` or `exists`
 * last, and never back to an earlier status.
 *
 * @param onFailure hears what the listener throws
 */
export class ProgressReport {
  readonly #listener: ((progress: PullProgress) => void) | undefined
  readonly #onFailure: (error: unknown) => void
  readonly #layers: LayerProgress[]

  constructor(
    layers: readonly { digest: Digest; size: number }[],
    listener: ((progress: PullProgress) => void) | undefined,
    onFailure: (error: unknown) => void,
  ) {
    this.#listener = listener
    this.#onFailure = onFailure
    this.#layers = layers.map(
      ({ digest, size }) => new LayerProgress(digest, size, (layer) => this.#emit(layer)),
    )
  }

  /** The layer at a position, lowest first: the same blob may be there twice. */
  layer(index: number): LayerProgress {
    const layer = this.#layers[index]
    if (layer === undefined) throw new RangeError(`no layer ${index}`)
    return layer
  }

  #emit({ digest, status, current, total }: LayerProgress): void {
    if (this.#listener === undefined) return
    const totals: PullTotals = { layers: this.#layers.length, finished: 0, current: 0, total: 0 }
    for (const layer of this.#layers) {
      if (layer.finished) totals.finished++
      totals.current += layer.downloaded
      totals.total += layer.total
    }
    try {
      this.#listener({ layer: digest, status, current, total, totals })
    } catch (error) {
      // What reports to us may be doing the work of other pulls, too.
      this.#onFailure(error)
    }
  }
}

export class LayerProgress {
  readonly digest: Digest
  readonly total: number
  status: LayerStatus = 'waiting'
  current = 0
  downloaded = 0
  readonly #emit: (layer: LayerProgress) => void

  constructor(digest: Digest, total: number, emit: (layer: LayerProgress) => void) {
    this.digest = digest
    this.total = total
    this.#emit = emit
  }

  get finished(): boolean {
    return this.status === 'done' || this.status === 'exists'
  }

  waiting(): void {
    this.#emit(this)
  }

  download(bytes: number): void {
    this.downloaded = bytes
    if (this.status === 'waiting' || this.status === 'downloading') this.#step('downloading', bytes)
  }

  verify(): void {
    this.downloaded = this.total
    if (this.status === 'waiting' || this.status === 'downloading') {
      this.#step('verifying', this.total)
    }
  }

  /** Unpacking runs beside the download and is told of only when that is over. */
  unpack(read: number): void {
    if (this.downloaded === this.total && !this.finished) this.#step('unpacking', read)
  }

  finish(status: 'done' | 'exists'): void {
    this.downloaded = this.total
    this.#step(status, this.total)
  }

  #step(status: LayerStatus, current: number): void {
    const turned = status !== this.status
    const far = Math.abs(current - this.current) >= this.total / STEPS
    if (!turned && !(far && current !== this.current)) return
    this.status = status
    this.current = current
    this.#emit(this)
  }
}
