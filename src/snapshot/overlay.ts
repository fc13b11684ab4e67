import { chmodSync, chownSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Digest } from '../oci/digest.ts'
import type { Helper, RootfsMount, WritableLayer } from '../runtime/protocol.ts'
import { makePrivateDirectory, makeRootDirectory } from '../store/directories.ts'
import { converting, storageError } from '../store/errno.ts'
import type { KeelsonError } from '../errors.ts'
import { printable } from '../util/printable.ts'
import { applyLayer, layerError, malformedLayer, unpackPlaces, type ApplyFormat } from './apply.ts'
import type {
  LayerSource,
  PreparedRootfs,
  PrepareOptions,
  Snapshotter,
  UnpackOptions,
} from './snapshotter.ts'
import { SpareRoots, type SpareRoot } from './spare-roots.ts'
import { StandingSnapshots } from './standing.ts'
import { SnapshotTree } from './tree.ts'
import { WritableLayers } from './writable.ts'

export interface OverlayOptions {
  /** Run as an ordinary user: xattrs of overlay live in `user.`, device nodes cannot be made. */
  rootless: boolean
  owners: 'keep' | 'squash'
  /** Options of the mount of a writable layer, e.g. `volatile`. */
  mountOptions: readonly string[]
}

interface RootDirectory {
  mode: number
  uid: number
  gid: number
}

/**
 * A directory a layer, stacked by overlayfs. Layers do not need one another to be unpacked, so all unpack at once; only
 * what a layer implies without saying (the attributes of a parent directory, a hard link to a file below) waits for those below.
 */
export class OverlaySnapshotter extends StandingSnapshots implements Snapshotter {
  readonly name = 'overlay'
  readonly #helper: Helper
  readonly #apply: ApplyFormat
  readonly #view: string[]
  readonly #mount: string[]
  /** Snapshots never change, so neither does what their root directory is like. */
  readonly #roots = new Map<Digest, RootDirectory>()
  readonly #spares: SpareRoots

  private constructor(
    helper: Helper,
    tree: SnapshotTree,
    writable: WritableLayers,
    durable: string,
    options: OverlayOptions,
  ) {
    super(tree, writable, durable)
    this.#helper = helper
    this.#spares = new SpareRoots(helper)
    this.#apply = {
      format: options.rootless ? 'overlay-userxattr' : 'overlay',
      devices: options.rootless ? 'skip' : 'create',
      owners: options.owners,
      places: unpackPlaces(),
    }
    this.#view = options.rootless ? ['userxattr'] : []
    this.#mount = [...this.#view, ...options.mountOptions]
  }

  /** @param directory of this driver alone, on a file system that overlay can have its upper directory on */
  static async open(
    directory: string,
    helper: Helper,
    options: OverlayOptions,
  ): Promise<OverlaySnapshotter> {
    const tree = await SnapshotTree.open(directory, helper)
    const writable = await WritableLayers.open(join(directory, 'writable'), helper)
    const durable = join(directory, 'containers')
    await makePrivateDirectory(durable)
    return new OverlaySnapshotter(helper, tree, writable, durable, options)
  }

  async unpack(layer: LayerSource, options: UnpackOptions = {}): Promise<void> {
    const { chainId, parents } = layer
    await this.tree.make(chainId, parents, options.signal, async (stage) => {
      await makeRootDirectory(stage.fs)
      const applied = await applyLayer(this.#helper, layer, stage.fs, this.#apply, options)
      const { inherited, links } = applied
      const [dangling] = links
      if (parents.length === 0 && dangling !== undefined) throw danglingLink(layer, dangling)
      if (parents.length > 0 && inherited.length + links.length > 0) {
        await layer.parentsReady
        await this.#inherit(stage.fs, parents, inherited, links, options.signal).catch(
          (error: unknown) => {
            throw layerError(error, layer, stage.fs)
          },
        )
      }
      await stage.publish()
    })
  }

  async prepare(
    id: string,
    chain: readonly Digest[],
    { durable = false, spare = false, unmade = false, tmpfs }: PrepareOptions = {},
  ): Promise<PreparedRootfs> {
    if (tmpfs !== undefined) {
      const lower = this.#lower(chain)
      const rootfs = { type: 'overlay', lower, tmpfs, options: this.#view } as const
      return { rootfs: [rootfs], remove: [], locks: this.locks(chain) }
    }
    if (spare) {
      const ready = this.#spares.take(chain)
      this.#spares.foresee(chain, (name) => this.#spare(name, chain))
      if (ready !== undefined) return ready
    }
    if (unmade) {
      const later = this.#unmade(id, chain)
      if (later !== undefined) return { ...later.prepared, layer: later.layer }
    }
    const directory = join(durable ? this.durableDirectory : this.writable.path, id)
    const { upper, work } = placesIn(directory)
    try {
      // Synchronous, on the way of every run: three of these take less time than one turn of the event loop.
      mkdirSync(directory, { mode: 0o700 })
      mkdirSync(work, { mode: 0o700 })
      mkdirSync(upper, { mode: 0o755 })
    } catch (error) {
      throw storageError(error, 'create', directory)
    }
    await this.#likeTop(upper, chain)
    // What is `volatile` is not for after a power cut: overlay would refuse to mount it again.
    return this.#prepared(directory, chain, durable ? this.#view : this.#mount)
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.#spares[Symbol.asyncDispose]()
    await super[Symbol.asyncDispose]()
  }

  view(chain: readonly Digest[]): RootfsMount[] {
    const [first = this.tree.empty, ...more] = this.#lower(chain)
    // Overlay wants two directories at least when none is writable.
    if (more.length === 0) return [{ type: 'bind', source: first, readonly: true }]
    return [{ type: 'overlay', lower: [first, ...more], options: this.#view }]
  }

  #prepared(directory: string, chain: readonly Digest[], options: string[]): PreparedRootfs {
    const { upper, work } = placesIn(directory)
    return {
      rootfs: [{ type: 'overlay', lower: this.#lower(chain), upper, work, options }],
      remove: [directory],
      locks: this.locks(chain),
    }
  }

  #spare(name: string, chain: readonly Digest[]): SpareRoot | undefined {
    const { prepared, layer } = this.#unmade(name, chain) ?? {}
    const [rootfs] = prepared?.rootfs ?? []
    if (prepared === undefined || layer === undefined || rootfs === undefined) return undefined
    return { prepared, order: { ...layer, rootfs } }
  }

  /** A root file system that the helper could make; not where only a subordinate id could own it. */
  #unmade(
    name: string,
    chain: readonly Digest[],
  ): { prepared: PreparedRootfs; layer: WritableLayer } | undefined {
    const { mode, uid, gid } = this.#root(chain)
    const [user, group] = [process.geteuid?.(), process.getegid?.()]
    const own = uid === user && gid === group
    if (!own && user !== 0) return undefined
    const directory = join(this.writable.path, name)
    return {
      prepared: this.#prepared(directory, chain, this.#mount),
      layer: { directory, mode, ...(!own && { owner: { uid, gid } }) },
    }
  }

  /** Topmost first. */
  #lower(chain: readonly Digest[]): string[] {
    if (chain.length === 0) return [this.tree.empty]
    return chain.map((chainId) => this.tree.fs(chainId)).toReversed()
  }

  /** The root of an overlay has the attributes of its uppermost directory. */
  async #likeTop(upper: string, chain: readonly Digest[]): Promise<void> {
    const like = this.#root(chain)
    const made = statSync(upper)
    if (made.uid === like.uid && made.gid === like.gid) {
      if (made.mode !== like.mode) chmodSync(upper, like.mode & 0o7777)
    } else if (process.geteuid?.() === 0) {
      chownSync(upper, like.uid, like.gid)
      chmodSync(upper, like.mode & 0o7777)
    } else {
      // A subordinate id: only the helper, in its user namespace, can give files to it.
      const root = Buffer.from('.').toString('base64')
      await converting('create', upper, () => this.#inherit(upper, chain, [root], [], undefined))
    }
  }

  #root(chain: readonly Digest[]): RootDirectory {
    const top = chain.at(-1)
    const known = top === undefined ? undefined : this.#roots.get(top)
    if (known !== undefined) return known
    const path = top === undefined ? this.tree.empty : this.tree.fs(top)
    try {
      const { mode, uid, gid } = statSync(path)
      if (top !== undefined) this.#roots.set(top, { mode, uid, gid })
      return { mode, uid, gid }
    } catch (error) {
      throw storageError(error, 'read', path)
    }
  }

  async #inherit(
    target: string,
    parents: readonly Digest[],
    inherited: string[],
    links: [string, string][],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await this.#helper.request(
      'layer.inherit',
      { target, parents: this.#lower(parents), inherited, links, format: this.#apply.format },
      { signal },
    )
  }
}

function placesIn(directory: string): { upper: string; work: string } {
  return { upper: join(directory, 'upper'), work: join(directory, 'work') }
}

/** Nothing lies below a base layer that its hard link could mean. */
function danglingLink(layer: LayerSource, [path, target]: [string, string]): KeelsonError {
  const [link, file] = [path, target].map((name) => Buffer.from(name, 'base64').toString())
  return malformedLayer(layer, {
    what: `a hard link names a missing file, ${printable(file ?? '')}`,
    path: link,
  })
}
