import { randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { digestHex, parseDigest, type Digest } from '../oci/digest.ts'
import { helperFailure } from '../runtime/connection.ts'
import type { Helper } from '../runtime/protocol.ts'
import { makePrivateDirectory, makeRootDirectory } from '../store/directories.ts'
import { converting, errnoOf, storageError } from '../store/errno.ts'
import { acquireLock, tryLock, type Lock } from '../store/lock.ts'
import { readRecord, writeRecord } from '../store/records.ts'

/** What a snapshot says of itself, beside its files. */
interface SnapshotRecord {
  chainId: Digest
  parents: readonly Digest[]
  /** The boot in which it was unpacked: until it is settled it is whole only as long as that lasts. */
  boot: string
}

/** A snapshot in the making. */
export interface Stage {
  /** Where its files go. Missing yet. */
  fs: string
  /** Gives it its name; from then on it stands. */
  publish(): Promise<void>
}

const HEX = /^[0-9a-f]{64}(?:[0-9a-f]{64})?$/

/**
 * The directory of a driver, one folder a snapshot:
 *
 * ```
 * <chain>/fs  <chain>/lock  <chain>/snapshot.json  <chain>/settled
 * unpacking/<chain>/...   half made; a rename makes it stand
 * removed/...             being removed
 * empty/                  what an image without layers consists of
 * ```
 */
export class SnapshotTree {
  readonly path: string
  readonly empty: string
  readonly #helper: Helper
  readonly #boot = bootId()
  /** Snapshots whose record was read: from then on a stat tells whether they are there. */
  readonly #whole = new Set<Digest>()

  private constructor(path: string, helper: Helper) {
    this.path = path
    this.empty = join(path, 'empty')
    this.#helper = helper
  }

  static async open(path: string, helper: Helper): Promise<SnapshotTree> {
    const tree = new SnapshotTree(path, helper)
    for (const each of [path, tree.#unpacking, tree.#removed]) await makePrivateDirectory(each)
    await makeRootDirectory(tree.empty)
    await tree.#emptyRemoved()
    return tree
  }

  get #unpacking(): string {
    return join(this.path, 'unpacking')
  }

  get #removed(): string {
    return join(this.path, 'removed')
  }

  fs(chainId: Digest): string {
    return join(this.path, digestHex(chainId), 'fs')
  }

  /** Held shared by whoever has the snapshot mounted. */
  lock(chainId: Digest): string {
    return join(this.path, digestHex(chainId), 'lock')
  }

  async has(chainId: Digest): Promise<boolean> {
    // Synchronous: it is on the way of every run, and a stat costs less than a turn of the event loop.
    if (!exists(this.fs(chainId))) return false
    if (this.#whole.has(chainId)) return true
    const record = await this.#record(chainId)
    if (record === undefined) return false
    const whole = record.boot === this.#boot || this.#isSettled(chainId)
    if (whole) this.#whole.add(chainId)
    return whole
  }

  /**
   * Makes a snapshot unless it stands: `fill` is given a stage to fill and publish. One maker among all processes; the others
   * wait and find it. Whatever ends `fill` early, the half snapshot is removed.
   */
  async make(
    chainId: Digest,
    parents: readonly Digest[],
    signal: AbortSignal | undefined,
    fill: (stage: Stage) => Promise<void>,
  ): Promise<void> {
    if (await this.has(chainId)) return
    const directory = join(this.#unpacking, digestHex(chainId))
    const lockPath = `${directory}.lock`
    await using _ = await acquireLock(this.#helper, lockPath, 'exclusive', { signal })
    if (!(await this.has(chainId))) {
      // What a crash left, and what a power cut may have holed.
      await this.removeTrees([directory])
      await this.remove(chainId)
      await converting('create', directory, () => mkdir(directory, { mode: 0o700 }))
      try {
        await fill({
          fs: join(directory, 'fs'),
          publish: () => this.#publish(directory, chainId, parents),
        })
      } finally {
        if (!this.#whole.has(chainId)) await this.removeTrees([directory])
      }
    }
    // While we hold it: whoever waits on it looks again and finds the snapshot.
    await rm(lockPath, { force: true })
  }

  /** Every snapshot, also one that is no longer whole. */
  async list(): Promise<{ chainId: Digest; parents: readonly Digest[] }[]> {
    const names = await converting('read', this.path, () => readdir(this.path))
    const records = names.filter((name) => HEX.test(name)).map((name) => this.#recordOf(name))
    return (await Promise.all(records)).filter((record) => record !== undefined)
  }

  async inUse(chainId: Digest): Promise<boolean> {
    const lock = await this.#tryLock(chainId)
    if (lock === 'missing') return false
    if (lock === 'busy') return true
    await lock.release()
    return false
  }

  async remove(chainId: Digest): Promise<boolean> {
    const lock = await this.#tryLock(chainId)
    if (lock === 'missing') return true
    if (lock === 'busy') return false
    const from = join(this.path, digestHex(chainId))
    const to = join(this.#removed, randomBytes(8).toString('hex'))
    try {
      // Out of its place under the lock: who comes for the lock later finds no snapshot rather than half of one.
      await converting('remove', from, () => rename(from, to))
      this.#whole.delete(chainId)
    } finally {
      await lock.release()
    }
    await this.removeTrees([to])
    return true
  }

  /** Removes trees whose files may belong to subordinate ids. */
  async removeTrees(paths: string[]): Promise<void> {
    const [first = this.path] = paths
    await converting('remove', first, () => this.#helper.request('tree.remove', { paths }))
  }

  async sweep(): Promise<void> {
    const names = await converting('read', this.#unpacking, () => readdir(this.#unpacking))
    await this.removeTrees(names.map((name) => join(this.#unpacking, name)))
    await this.#emptyRemoved()
  }

  /** Puts the files of whole snapshots on the disk and says of them that they are. */
  async settle(chain: readonly Digest[]): Promise<void> {
    const open = chain.filter((chainId) => this.#whole.has(chainId) && !this.#isSettled(chainId))
    if (open.length === 0) return
    await converting('write', this.path, () =>
      this.#helper.request('tree.sync', { path: this.path }),
    )
    for (const chainId of open) {
      await writeRecord(this.#settled(chainId), '', { durable: false }).catch((error: unknown) => {
        // Removed meanwhile.
        if (exists(this.fs(chainId))) throw error
      })
    }
  }

  async #publish(directory: string, chainId: Digest, parents: readonly Digest[]): Promise<void> {
    const record: SnapshotRecord = { chainId, parents, boot: this.#boot }
    await writeRecord(join(directory, 'snapshot.json'), JSON.stringify(record), { durable: false })
    const place = join(this.path, digestHex(chainId))
    await converting('create', place, () => rename(directory, place))
    this.#whole.add(chainId)
  }

  #settled(chainId: Digest): string {
    return join(this.path, digestHex(chainId), 'settled')
  }

  #isSettled(chainId: Digest): boolean {
    return exists(this.#settled(chainId))
  }

  #record(chainId: Digest): Promise<SnapshotRecord | undefined> {
    return this.#recordOf(digestHex(chainId))
  }

  /** A record that a power cut holed tells at least which snapshot it was. */
  async #recordOf(name: string): Promise<SnapshotRecord | undefined> {
    const bytes = await readRecord(join(this.path, name, 'snapshot.json'))
    const algorithm = name.length === 64 ? 'sha256' : 'sha512'
    const nameless = { chainId: parseDigest(`${algorithm}:${name}`), parents: [], boot: '' }
    if (bytes === undefined) return nameless
    try {
      return JSON.parse(bytes.toString()) as SnapshotRecord
    } catch {
      return nameless
    }
  }

  async #tryLock(chainId: Digest): Promise<Lock | 'busy' | 'missing'> {
    try {
      return (await tryLock(this.#helper, this.lock(chainId), 'exclusive')) ?? 'busy'
    } catch (error) {
      if (errnoIn(error) === 'ENOENT') return 'missing'
      throw error
    }
  }

  async #emptyRemoved(): Promise<void> {
    const names = await converting('read', this.#removed, () => readdir(this.#removed))
    if (names.length > 0) await this.removeTrees(names.map((name) => join(this.#removed, name)))
  }
}

/** Unpacking fails in the helper: what it says of a lock is in the cause. */
function errnoIn(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined
  return helperFailure(error)?.errno ?? helperFailure(cause)?.errno ?? errnoOf(cause)
}

function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined
  } catch (error) {
    throw storageError(error, 'read', path)
  }
}

function bootId(): string {
  const path = '/proc/sys/kernel/random/boot_id'
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw storageError(error, 'read', path)
  }
}
