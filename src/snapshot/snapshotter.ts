import type { Digest } from '../oci/digest.ts'
import type { Compression } from '../oci/media-types.ts'
import type { RootfsMount, WritableLayer } from '../runtime/protocol.ts'

/** A layer to be made a snapshot. */
export interface LayerSource {
  /** Names the result: this layer applied on all below it. */
  chainId: Digest
  /** Chain ids of the snapshots below, lowest first. */
  parents: readonly Digest[]
  /** What the unpacked archive must hash to. */
  diffId: Digest
  /** The blob, once it is whole. */
  blob: string
  /** The growing half of it, for as long as there is one: it becomes `blob` by a rename. */
  partial?: string | undefined
  /** Bytes of the whole blob. */
  size: number
  compression: Compression
  /** Resolves when the snapshots below stand. A driver that does not need them from the start unpacks meanwhile. */
  parentsReady: Promise<unknown>
}

export interface UnpackOptions {
  signal?: AbortSignal | undefined
  /** Bytes of the blob that were read. */
  onProgress?: (read: number) => void
}

/** A root file system for one container. */
export interface PreparedRootfs {
  /** To be mounted in this order. */
  rootfs: RootfsMount[]
  /** Who mounts it makes this first. */
  layer?: WritableLayer
  /** Trees to remove when the container has ended. */
  remove: string[]
  /** To be held as long as it is mounted, so that no sweep takes the layers away. */
  locks: { path: string; mode: 'shared' | 'exclusive' }[]
}

export interface PrepareOptions {
  durable?: boolean
  /** It is for the launcher to mount, and at once: it may be one that was made ahead of time. */
  spare?: boolean
  /** The launcher may make the directories. */
  unmade?: boolean
  /** What is written is kept in memory, with at most so many bytes. */
  tmpfs?: { size: number | undefined } | undefined
}

/**
 * Keeps unpacked layers by chain id and makes root file systems of them. Any number of processes share a directory.
 *
 * A snapshot is there whole or not at all, and never changes.
 */
export interface Snapshotter extends AsyncDisposable {
  readonly name: 'overlay' | 'copy'

  /** Whether the snapshot stands. */
  has(chainId: Digest): Promise<boolean>

  /**
   * Makes the snapshot, or finds that another process did. The caller holds the store's lease. On failure or abort
   * nothing is left.
   *
   * @throws `KEELSON_LAYER_INVALID`, `KEELSON_LAYER_LIMIT`, `KEELSON_DIGEST_MISMATCH` (the diff id), `KEELSON_NO_SPACE`,
   * `KEELSON_PERMISSION`, `KEELSON_ABORTED`
   */
  unpack(layer: LayerSource, options?: UnpackOptions): Promise<void>

  /**
   * A writable layer on top of a chain (lowest first; may be empty), whose root directory has the owner and mode of the topmost
   * layer's. It lasts at most as long as this engine: nothing in it is ever synced to disk, and what a crash leaves is removed
   * by the next engine that opens. A durable one lasts until its trees are removed, and may be mounted again and again, by any engine.
   *
   * One in memory (`tmpfs`) begins anew with each mount.
   *
   * @param id names it among those of this engine, a durable one among all
   * @throws `KEELSON_UNSUPPORTED` by a driver that has none in memory
   */
  prepare(id: string, chain: readonly Digest[], options?: PrepareOptions): Promise<PreparedRootfs>

  /** Every durable writable layer. */
  durable(): Promise<{ id: string; path: string }[]>

  /** The same, read-only and without anything to remove. */
  view(chain: readonly Digest[]): RootfsMount[]

  /** To be held as long as a view is mounted. */
  locks(chain: readonly Digest[]): PreparedRootfs['locks']

  /** Whether a container, of this or another process, uses the snapshot. */
  inUse(chainId: Digest): Promise<boolean>

  /** Every snapshot that stands. */
  list(): Promise<{ chainId: Digest; parents: readonly Digest[] }[]>

  /** Removes a snapshot on which no other stands. False when a container uses it; true when it is gone. */
  remove(chainId: Digest): Promise<boolean>

  /** Removes what crashes left half unpacked. Only for who holds the store's lock exclusively. */
  sweep(): Promise<void>

  /**
   * Puts finished snapshots on the disk, for after a power cut: one that was not and finds itself after another boot is unpacked
   * again. Off anyone's path.
   */
  settle(chain: readonly Digest[]): Promise<void>
}
