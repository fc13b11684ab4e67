import type { Digest } from '../oci/digest.ts'
import type { PreparedRootfs } from './snapshotter.ts'
import type { SnapshotTree } from './tree.ts'
import { durableLayers, type WritableLayers } from './writable.ts'

/** What all drivers that keep snapshots in a {@link SnapshotTree} do alike, whatever they make of them. */
export abstract class StandingSnapshots implements AsyncDisposable {
  protected readonly tree: SnapshotTree
  protected readonly writable: WritableLayers
  /** Where writable layers that last go. */
  protected readonly durableDirectory: string

  protected constructor(tree: SnapshotTree, writable: WritableLayers, durableDirectory: string) {
    this.tree = tree
    this.writable = writable
    this.durableDirectory = durableDirectory
  }

  has(chainId: Digest): Promise<boolean> {
    return this.tree.has(chainId)
  }

  locks(chain: readonly Digest[]): PreparedRootfs['locks'] {
    const top = chain.at(-1)
    return top === undefined ? [] : [{ path: this.tree.lock(top), mode: 'shared' }]
  }

  inUse(chainId: Digest): Promise<boolean> {
    return this.tree.inUse(chainId)
  }

  list(): Promise<{ chainId: Digest; parents: readonly Digest[] }[]> {
    return this.tree.list()
  }

  remove(chainId: Digest): Promise<boolean> {
    return this.tree.remove(chainId)
  }

  sweep(): Promise<void> {
    return this.tree.sweep()
  }

  settle(chain: readonly Digest[]): Promise<void> {
    return this.tree.settle(chain)
  }

  durable(): Promise<{ id: string; path: string }[]> {
    return durableLayers(this.durableDirectory)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.writable[Symbol.asyncDispose]()
  }
}
