import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { keelsonError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Helper, RootfsMount } from '../runtime/protocol.ts'
import { makePrivateDirectory, makeRootDirectory } from '../store/directories.ts'
import { converting } from '../store/errno.ts'
import { acquireLock } from '../store/lock.ts'
import { applyLayer, unpackPlaces, type ApplyFormat } from './apply.ts'
import type {
  LayerSource,
  PreparedRootfs,
  PrepareOptions,
  Snapshotter,
  UnpackOptions,
} from './snapshotter.ts'
import { StandingSnapshots } from './standing.ts'
import { SnapshotTree } from './tree.ts'
import { WritableLayers } from './writable.ts'

export interface CopyOptions {
  /** Run as an ordinary user: device nodes cannot be made. */
  rootless: boolean
  owners: 'keep' | 'squash'
}

/**
 * A whole tree a snapshot, for hosts without a usable overlayfs: each begins as a copy of the one below (sharing its blocks where the
 * file system has reflinks), and each container gets a copy of its own.
 */
export class CopySnapshotter extends StandingSnapshots implements Snapshotter {
  readonly name = 'copy'
  readonly #helper: Helper
  readonly #apply: ApplyFormat

  private constructor(
    helper: Helper,
    tree: SnapshotTree,
    writable: WritableLayers,
    durable: string,
    { rootless, owners }: CopyOptions,
  ) {
    super(tree, writable, durable)
    this.#helper = helper
    this.#apply = {
      format: 'plain',
      devices: rootless ? 'skip' : 'create',
      owners,
      places: unpackPlaces(),
    }
  }

  /** @param directory of this driver alone */
  static async open(
    directory: string,
    helper: Helper,
    options: CopyOptions,
  ): Promise<CopySnapshotter> {
    const tree = await SnapshotTree.open(directory, helper)
    const writable = await WritableLayers.open(join(directory, 'writable'), helper)
    const durable = join(directory, 'containers')
    await makePrivateDirectory(durable)
    return new CopySnapshotter(helper, tree, writable, durable, options)
  }

  async unpack(layer: LayerSource, options: UnpackOptions = {}): Promise<void> {
    const { chainId, parents } = layer
    await this.tree.make(chainId, parents, options.signal, async (stage) => {
      await layer.parentsReady
      await this.#copy(parents, stage.fs, options.signal)
      await applyLayer(this.#helper, layer, stage.fs, this.#apply, options)
      await stage.publish()
    })
  }

  async prepare(
    id: string,
    chain: readonly Digest[],
    { durable = false, tmpfs }: PrepareOptions = {},
  ): Promise<PreparedRootfs> {
    if (tmpfs !== undefined) {
      throw keelsonError('KEELSON_UNSUPPORTED', 'Without overlayfs nothing is kept in memory.', {
        option: 'storage',
        hint: 'Leave storage out, or use the snapshotter "overlay".',
      })
    }
    const directory = join(durable ? this.durableDirectory : this.writable.path, id)
    const source = join(directory, 'fs')
    await converting('create', directory, () => mkdir(directory, { mode: 0o700 }))
    try {
      const top = chain.at(-1)
      // Only while it is copied: the container does not need the layers.
      await using _ =
        top === undefined
          ? undefined
          : await acquireLock(this.#helper, this.tree.lock(top), 'shared')
      await this.#copy(chain, source, undefined)
    } catch (error) {
      await this.tree.removeTrees([directory])
      throw error
    }
    return { rootfs: [{ type: 'bind', source }], remove: [directory], locks: [] }
  }

  view(chain: readonly Digest[]): RootfsMount[] {
    const top = chain.at(-1)
    const source = top === undefined ? this.tree.empty : this.tree.fs(top)
    return [{ type: 'bind', source, readonly: true }]
  }

  /** The tree of the topmost of `chain`, or an empty one, at `to`. */
  async #copy(
    chain: readonly Digest[],
    to: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const top = chain.at(-1)
    if (top === undefined) return await makeRootDirectory(to)
    await converting('create', to, () =>
      this.#helper.request('tree.copy', { from: this.tree.fs(top), to }, { signal }),
    )
  }
}
