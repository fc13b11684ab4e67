import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Descriptor } from '../oci/descriptor.ts'
import { parseDigest, type Digest } from '../oci/digest.ts'
import type { Helper } from '../runtime/protocol.ts'
import { throwIfAborted } from '../util/abort.ts'
import type { ContentStore } from './content.ts'
import { converting, errnoOf } from './errno.ts'
import { acquireLock, tryLock } from './lock.ts'

/** What of one driver's snapshots a sweep needs to know. */
export interface SweptSnapshots {
  list(): Promise<{ chainId: Digest; parents: readonly Digest[] }[]>
  /** False when a container uses it. */
  remove(chainId: Digest): Promise<boolean>
  /** Removes what a crash left half unpacked. Called only while nobody unpacks. */
  sweep(): Promise<void>
}

export interface SweepOptions {
  /** All that a manifest or index leads to: itself, configs, layers; and the snapshots made of them. */
  expand(manifest: Descriptor): Promise<{ blobs: readonly Digest[]; chain: readonly Digest[] }>
  /** Of every driver that ever had this root. */
  snapshots: readonly SweptSnapshots[]
  /** Manifests that something other than `index.json` holds: the containers' records. Asked under the lock. */
  held?: (() => Promise<readonly Descriptor[]>) | undefined
  /** Half blobs to remove: every one, or those that nobody went on with for a day. */
  partials: 'old' | 'all'
  /** Wait for pulls that run, or give up at once. */
  wait: boolean
  signal?: AbortSignal | undefined
}

export interface Swept {
  blobs: Digest[]
  snapshots: Digest[]
  /** Bytes of the blobs and half blobs. */
  bytes: number
}

const OLD_PARTIAL_MS = 24 * 60 * 60 * 1000

/**
 * Removes every blob and snapshot that no image and no container leads to, and what crashes left.
 *
 * It holds the store's lock exclusively, so no pull is half way; a snapshot that a container uses has a lock of its own and stays
 * with all below it. Stopped anywhere it has only removed garbage.
 *
 * @returns `undefined` when a pull runs and `wait` is false
 */
export async function sweep(
  store: ContentStore,
  helper: Helper,
  options: SweepOptions,
): Promise<Swept | undefined> {
  const { storeLock } = store.layout
  await using lock = options.wait
    ? await acquireLock(helper, storeLock, 'exclusive', options)
    : await tryLock(helper, storeLock, 'exclusive')
  if (lock === undefined) return undefined
  const marked = await mark(store, options)
  const snapshots = await sweepSnapshots(marked, options)
  const { blobs, bytes } = await sweepBlobs(store, marked, options.signal)
  await store.names.sweep(options)
  return { blobs, snapshots, bytes: bytes + (await sweepIngests(store, options.partials)) }
}

async function mark(store: ContentStore, options: SweepOptions): Promise<Set<Digest>> {
  const named = (await store.names.entries()).map((entry) => entry.descriptor)
  const marked = new Set<Digest>()
  for (const descriptor of [...named, ...((await options.held?.()) ?? [])]) {
    throwIfAborted(options.signal, 'The sweep')
    const { blobs, chain } = await options.expand(descriptor)
    for (const digest of [descriptor.digest, ...blobs, ...chain]) marked.add(digest)
  }
  return marked
}

/** The same snapshot may stand with several drivers. */
async function sweepSnapshots(
  marked: ReadonlySet<Digest>,
  { snapshots, signal }: SweepOptions,
): Promise<Digest[]> {
  const removed = new Set<Digest>()
  for (const driver of snapshots) {
    for (const chainId of await sweepDriver(marked, driver, signal)) removed.add(chainId)
  }
  return [...removed]
}

/** Topmost first: as long as a snapshot is there, so is everything below it. */
async function sweepDriver(
  marked: ReadonlySet<Digest>,
  snapshots: SweptSnapshots,
  signal: AbortSignal | undefined,
): Promise<Digest[]> {
  const removed: Digest[] = []
  const kept = new Set<Digest>()
  const all = await snapshots.list()
  for (const { chainId, parents } of all.sort((a, b) => b.parents.length - a.parents.length)) {
    throwIfAborted(signal, 'The sweep')
    const keeps = marked.has(chainId) || kept.has(chainId) || !(await snapshots.remove(chainId))
    if (keeps) for (const parent of parents) kept.add(parent)
    else removed.push(chainId)
  }
  await snapshots.sweep()
  return removed
}

async function sweepBlobs(
  store: ContentStore,
  marked: ReadonlySet<Digest>,
  signal: AbortSignal | undefined,
) {
  const blobs: Digest[] = []
  let bytes = 0
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const directory = store.layout.blobs(algorithm)
    for (const name of await converting('read', directory, () => readdir(directory))) {
      throwIfAborted(signal, 'The sweep')
      const digest = digestNamed(algorithm, name)
      if (digest === undefined || marked.has(digest)) continue
      bytes += await remove(join(directory, name))
      blobs.push(digest)
    }
  }
  return { blobs, bytes }
}

/** The exclusive lock says that no ingest is under way: all here was left by an abort, a failure or a crash. */
async function sweepIngests(store: ContentStore, which: 'old' | 'all'): Promise<number> {
  const { ingest } = store.layout
  let bytes = 0
  for (const name of await converting('read', ingest, () => readdir(ingest))) {
    const path = join(ingest, name)
    const resumable = !name.includes('.')
    if (which === 'old' && resumable && !(await isOld(path))) continue
    bytes += await remove(path)
  }
  return bytes
}

async function isOld(path: string): Promise<boolean> {
  const { mtimeMs } = await converting('read', path, () => stat(path))
  return Date.now() - mtimeMs > OLD_PARTIAL_MS
}

async function remove(path: string): Promise<number> {
  return await converting('remove', path, async () => {
    const size = await stat(path).then(
      (found) => found.size,
      (error: unknown) => {
        if (errnoOf(error) === 'ENOENT') return 0
        throw error
      },
    )
    await rm(path, { force: true, recursive: false })
    return size
  })
}

/** Only what has a blob's name: anything else there is not ours to remove. */
function digestNamed(algorithm: 'sha256' | 'sha512', name: string): Digest | undefined {
  try {
    return parseDigest(`${algorithm}:${name}`)
  } catch {
    return undefined
  }
}
