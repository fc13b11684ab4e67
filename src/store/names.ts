import { statSync } from 'node:fs'
import { link, readdir, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { decodeAnnotations, decodeDescriptor, type Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { parseDocument } from '../oci/document.ts'
import { MEDIA_TYPES } from '../oci/media-types.ts'
import { parseReference } from '../oci/reference.ts'
import { KeelsonError } from '../errors.ts'
import type { Helper } from '../runtime/protocol.ts'
import { converting, errnoOf, storageError } from './errno.ts'
import type { Layout } from './layout.ts'
import { acquireLock } from './lock.ts'
import { readRecord, syncDirectory, TEMPORARY_SUFFIX, writeRecord } from './records.ts'

/** The annotation by which skopeo, umoci, oras and containerd find an image in a layout. */
export const REF_NAME = 'org.opencontainers.image.ref.name'
/** The digest that the name had at the registry, where that is an index of several platforms. */
export const SOURCE_DIGEST = 'dev.keelson.source.digest'

/** An image that the layout holds, under one name or under none (as when its tag moved on). */
export interface IndexEntry {
  readonly descriptor: Descriptor
  /** A reference in full: `docker.io/library/alpine:3.22`. */
  readonly name?: string
}

interface LoadedIndex {
  identity: string
  entries: readonly IndexEntry[]
  byName: ReadonlyMap<string, Descriptor>
  byDigest: ReadonlyMap<Digest, readonly string[]>
  annotations?: Record<string, string>
}

/**
 * The names of images: `index.json` of the layout is the truth, and what is in memory is only its copy.
 *
 * A name is the whole canonical reference, so that one layout holds images of many repositories and other tools reach each:
 * `skopeo inspect oci:<root>/content:docker.io/library/alpine:3.22`.
 * The file is replaced by rename, under a lock, after its bytes are on the disk: a crash leaves the old one or the new one.
 */
export class Names {
  readonly #layout: Layout
  readonly #helper: Helper
  #loaded: LoadedIndex | undefined

  constructor(layout: Layout, helper: Helper) {
    this.#layout = layout
    this.#helper = helper
  }

  /** Makes an empty index where there is none and repairs a damaged one. */
  async open(): Promise<void> {
    await this.#load()
  }

  /** What a name stands for. One stat while nobody changed the index. */
  async get(name: string): Promise<Descriptor | undefined> {
    const index = this.#current() ?? (await this.#load())
    return index.byName.get(name)
  }

  /** All names of a manifest. */
  async namesOf(digest: Digest): Promise<readonly string[]> {
    const index = this.#current() ?? (await this.#load())
    return index.byDigest.get(digest) ?? []
  }

  /** Every image, named or not; one with several names once for each. */
  async entries(): Promise<readonly IndexEntry[]> {
    return (this.#current() ?? (await this.#load())).entries
  }

  /**
   * Gives names to a manifest, taking them from whatever had them; that stays, without a name.
   * The caller holds the store's lock (`ContentStore.lease`) since before it checked that the content is there.
   */
  async set(
    names: readonly string[],
    descriptor: Descriptor,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<void> {
    await this.#update((entries) => withNames(entries, names, descriptor), options?.signal)
  }

  /** Takes names away. An image that loses its last one stays without a name. Names that nothing has are fine. */
  async unset(
    names: readonly string[],
    options?: { signal?: AbortSignal | undefined },
  ): Promise<void> {
    await this.#update((entries) => withoutNames(entries, new Set(names)), options?.signal)
  }

  /** Takes manifests out with every name; their content is then for the sweep. */
  async forget(
    digests: readonly Digest[],
    options?: { signal?: AbortSignal | undefined },
  ): Promise<void> {
    const gone = new Set(digests)
    await this.#update(
      (entries) => entries.filter((entry) => !gone.has(entry.descriptor.digest)),
      options?.signal,
    )
  }

  /** Removes what writers left that were killed before their rename. */
  async sweep(options?: { signal?: AbortSignal | undefined }): Promise<void> {
    const { content, index, indexLock } = this.#layout
    await using _ = await acquireLock(this.#helper, indexLock, 'exclusive', options)
    await converting('remove', content, async () => {
      for (const name of await readdir(content)) {
        if (name.startsWith(basename(index)) && name.endsWith(TEMPORARY_SUFFIX)) {
          await rm(join(content, name), { force: true })
        }
      }
    })
  }

  /** The copy in memory while it is that of the file. Synchronous: a stat costs less than a turn of the event loop. */
  #current(): LoadedIndex | undefined {
    const identity = this.#identity()
    return identity !== undefined && identity === this.#loaded?.identity ? this.#loaded : undefined
  }

  async #load(): Promise<LoadedIndex> {
    const found = await this.#read()
    if (found !== undefined) return (this.#loaded = found)
    await using _ = await acquireLock(this.#helper, this.#layout.indexLock, 'exclusive')
    return await this.#readLocked()
  }

  async #readLocked(): Promise<LoadedIndex> {
    return (this.#loaded = (await this.#read()) ?? (await this.#restore()))
  }

  /** The index, or `undefined` when it is missing or damaged. */
  async #read(): Promise<LoadedIndex | undefined> {
    // The stat comes first: a replacement in between is then seen as a change at the next look.
    const identity = this.#identity()
    const bytes = await readRecord(this.#layout.index)
    if (identity === undefined || bytes === undefined) return undefined
    return decodeIndex(bytes, identity)
  }

  /**
   * Our own writes cannot leave a damaged file, but a power cut after another tool's write in place can, and so can a disk.
   * The index before the last change is the nearest truth; the damaged one is kept beside it for people.
   */
  async #restore(): Promise<LoadedIndex> {
    const { index } = this.#layout
    const before = await readRecord(previousOf(index))
    const usable = before === undefined ? undefined : decodeIndex(before, '')
    await rename(index, `${index}.damaged`).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw storageError(error, 'repair', index)
    })
    return await this.#write(usable?.entries ?? [], usable?.annotations)
  }

  async #update(
    change: (entries: readonly IndexEntry[]) => readonly IndexEntry[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await using _ = await acquireLock(this.#helper, this.#layout.indexLock, 'exclusive', { signal })
    const before = await this.#readLocked()
    const after = change(before.entries)
    if (JSON.stringify(after) === JSON.stringify(before.entries)) return
    await keepPrevious(this.#layout.index)
    this.#loaded = await this.#write(after, before.annotations)
  }

  async #write(
    entries: readonly IndexEntry[],
    annotations: Record<string, string> | undefined,
  ): Promise<LoadedIndex> {
    const { index, content } = this.#layout
    const document = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: entries.map((entry) => entry.descriptor),
      ...(annotations === undefined ? {} : { annotations }),
    }
    // Inode numbers and sizes repeat; a time that always grows makes the three together an identity.
    const modified = Math.max(Date.now(), Math.floor(statOf(index)?.mtimeMs ?? 0) + 1)
    await writeRecord(index, JSON.stringify(document), {
      durable: true,
      modified: new Date(modified),
    })
    await syncDirectory(content)
    return indexOf(entries, this.#identity() ?? '', annotations)
  }

  #identity(): string | undefined {
    const stat = statOf(this.#layout.index)
    return stat === undefined ? undefined : `${stat.ino}:${stat.mtimeMs}:${stat.size}`
  }
}

/** Every byte is checked: other tools write here too. */
function decodeIndex(bytes: Buffer, identity: string): LoadedIndex | undefined {
  try {
    const root = parseDocument(bytes, 'index of the layout', MAX_INDEX_BYTES)
    const manifests = root.required('manifests').elements(MAX_ENTRIES).map(decodeDescriptor)
    const entries = manifests.map((descriptor) => {
      const name = nameOf(descriptor)
      return name === undefined ? { descriptor } : { descriptor, name }
    })
    return indexOf(entries, identity, decodeAnnotations(root))
  } catch (error) {
    if (KeelsonError.is(error) && error.code === 'KEELSON_MANIFEST_INVALID') return undefined
    throw error
  }
}

const MAX_INDEX_BYTES = 256 * 1024 * 1024
const MAX_ENTRIES = 1_000_000

function indexOf(
  entries: readonly IndexEntry[],
  identity: string,
  annotations: Record<string, string> | undefined,
): LoadedIndex {
  const byName = new Map<string, Descriptor>()
  const byDigest = new Map<Digest, string[]>()
  for (const { name, descriptor } of entries) {
    if (name === undefined) continue
    byName.set(name, descriptor)
    const names = byDigest.get(descriptor.digest)
    if (names === undefined) byDigest.set(descriptor.digest, [name])
    else names.push(name)
  }
  return {
    identity,
    entries,
    byName,
    byDigest,
    ...(annotations === undefined ? {} : { annotations }),
  }
}

/** Other tools may write `alpine:3`; a lone word (`latest`, umoci's habit) names no repository and stays as it is. */
function nameOf(descriptor: Descriptor): string | undefined {
  const text = descriptor.annotations?.[REF_NAME]
  if (text === undefined || !/[/:@]/.test(text)) return text
  try {
    return parseReference(text).toString()
  } catch {
    return text
  }
}

function withNames(
  entries: readonly IndexEntry[],
  names: readonly string[],
  descriptor: Descriptor,
): readonly IndexEntry[] {
  const { digest } = descriptor
  if (names.length === 0) {
    const held = entries.some((entry) => entry.descriptor.digest === digest)
    return held ? entries : [...entries, { descriptor }]
  }
  const added = names.map((name) => named(descriptor, name))
  const present = new Set(entries.map((entry) => JSON.stringify(entry)))
  if (added.every((entry) => present.has(JSON.stringify(entry)))) return entries
  const rest = withoutNames(entries, new Set(names)).filter(
    (entry) => entry.name !== undefined || entry.descriptor.digest !== digest,
  )
  return [...rest, ...added]
}

function named(descriptor: Descriptor, name: string): IndexEntry {
  const annotations = { ...descriptor.annotations, [REF_NAME]: name }
  return { descriptor: { ...descriptor, annotations }, name }
}

/** Without these names, and with an unnamed entry for each manifest that had no other. */
function withoutNames(entries: readonly IndexEntry[], names: Set<string>): IndexEntry[] {
  const loses = (entry: IndexEntry) => entry.name !== undefined && names.has(entry.name)
  const rest = entries.filter((entry) => !loses(entry))
  const held = new Set(rest.map((entry) => entry.descriptor.digest))
  for (const { descriptor } of entries.filter(loses)) {
    if (held.has(descriptor.digest)) continue
    held.add(descriptor.digest)
    const { annotations, ...bare } = descriptor
    const { [REF_NAME]: _, ...kept } = annotations ?? {}
    const some = Object.keys(kept).length > 0
    rest.push({ descriptor: some ? { ...bare, annotations: kept } : bare })
  }
  return rest
}

const previousOf = (index: string) => `${index}.previous`

/** A second name for the bytes that are about to be replaced: they are on the disk already. */
async function keepPrevious(index: string): Promise<void> {
  const temporary = `${index}.previous${TEMPORARY_SUFFIX}`
  try {
    await rm(temporary, { force: true })
    await link(index, temporary)
    await rename(temporary, previousOf(index))
  } catch (error) {
    throw storageError(error, 'write', previousOf(index))
  }
}

function statOf(path: string) {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw storageError(error, 'read', path)
  }
}
