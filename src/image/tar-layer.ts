import { createHash, randomBytes, type Hash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { open, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Header as TarHeader, Pack } from 'tar-stream'
import { keelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { MEDIA_TYPES } from '../oci/media-types.ts'
import { converting, storageError } from '../store/errno.ts'
import { TEMPORARY_SUFFIX } from '../store/records.ts'
import { abortedError } from '../util/abort.ts'
import type { LayerEntry } from './layer-entry.ts'

/** A packed layer in a temporary file, which goes with its scope. */
export interface PackedLayer extends AsyncDisposable {
  path: string
  descriptor: Descriptor
  /** Digest of the archive before it was packed. */
  diffId: Digest
}

/**
 * Writes entries, already in order, as one layer. The same entries give the same bytes.
 *
 * @param directory where the temporary file lies; a crash leaves it with the suffix that the sweep knows
 */
export async function packLayer(
  entries: LayerEntry[],
  directory: string,
  { compression, signal }: { compression: 'none' | 'gzip'; signal?: AbortSignal | undefined },
): Promise<PackedLayer> {
  const [{ pack }, { createGzip }] = await Promise.all([import('tar-stream'), import('node:zlib')])
  const path = join(directory, `${randomBytes(8).toString('hex')}${TEMPORARY_SUFFIX}`)
  const archive = pack()
  const diffId = createHash('sha256')
  const digest = createHash('sha256')
  const compress = compression === 'gzip' ? createGzip() : new PassThrough()
  const written = pipeline(
    archive,
    hashing(diffId),
    compress,
    hashing(digest),
    createWriteStream(path, { flags: 'wx', mode: 0o644 }),
    { signal },
  )
  // A reader that fails ends the writer, and the other way round: the writer's end has the reason of either.
  const added = addEntries(archive, entries).catch((error: unknown) => {
    archive.destroy(error instanceof Error ? error : new Error(String(error)))
  })
  try {
    await Promise.all([written, added])
    const { size } = await stat(path)
    return {
      path,
      descriptor: {
        mediaType: compression === 'gzip' ? MEDIA_TYPES.ociLayerGzip : MEDIA_TYPES.ociLayer,
        digest: `sha256:${digest.digest('hex')}`,
        size,
      },
      diffId: `sha256:${diffId.digest('hex')}`,
      [Symbol.asyncDispose]: () => rm(path, { force: true }),
    }
  } catch (error) {
    await added
    await rm(path, { force: true })
    if (signal?.aborted === true) throw abortedError(signal, 'Making the image')
    throw storageError(error, 'write', path)
  }
}

/** Entries, already in order, as the bytes of an archive. Whoever stops reading ends the work. */
export async function* packEntries(entries: LayerEntry[]): AsyncGenerator<Uint8Array, void> {
  const { pack } = await import('tar-stream')
  const archive = pack()
  const added = addEntries(archive, entries).catch((error: unknown) => {
    archive.destroy(error instanceof Error ? error : new Error(String(error)))
  })
  try {
    for await (const chunk of archive) yield chunk as Uint8Array
  } finally {
    archive.destroy()
    await added
  }
}

async function addEntries(archive: Pack, entries: LayerEntry[]): Promise<void> {
  for (const entry of entries) {
    const header = headerOf(entry)
    if (entry.type !== 'file') await add(archive, header)
    else if (entry.content instanceof Uint8Array) await add(archive, header, entry.content)
    else await addHostFile(archive, header, entry.content.path)
  }
  archive.finalize()
}

type Header = Partial<TarHeader> & Pick<TarHeader, 'name'>

const TYPES = { file: 'file', directory: 'directory', link: 'symlink' } as const

function headerOf(entry: LayerEntry): Header {
  const { path, type, mode, uid, gid, mtime } = entry
  const seconds = mtime.getTime() / 1000
  const header: Header = {
    // Layers name their entries relative to the root.
    name: path.slice(1),
    type: TYPES[type],
    // tar-stream takes 0 for "not given"; it writes only the permission bits.
    mode: S_IFREG | mode,
    uid,
    gid,
    mtime: seconds > MAX_SECONDS ? new Date(0) : mtime,
    ...(type === 'link' ? { linkname: entry.target } : {}),
  }
  // What tar-stream would clip: ids of more than six octal digits, times of more than 31 bits or with a fraction.
  const pax = {
    ...(uid > 0o777777 ? { uid: String(uid) } : {}),
    ...(gid > 0o777777 ? { gid: String(gid) } : {}),
    ...(seconds > MAX_SECONDS || !Number.isInteger(seconds) ? { mtime: String(seconds) } : {}),
  }
  if (Object.keys(pax).length > 0) header.pax = pax
  return header
}

const S_IFREG = 0o100000
const MAX_SECONDS = 2 ** 31 - 1

async function add(archive: Pack, header: Header, content?: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const done = (error?: unknown) => (error instanceof Error ? reject(error) : resolve())
    if (content === undefined) archive.entry(header, done)
    else archive.entry(header, Buffer.from(content), done)
  })
}

async function addHostFile(archive: Pack, header: Header, path: string): Promise<void> {
  await converting('read', path, async () => {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      // Files of /proc and /sys have content and no size.
      if (size === 0) {
        await add(archive, header, await file.readFile())
        return
      }
      // Never more than the header says, should the file grow meanwhile.
      const source = file.createReadStream({ start: 0, end: size - 1, autoClose: false })
      try {
        await pipeline(source, archive.entry({ ...header, size }))
      } catch (cause) {
        if (source.errored !== null || source.bytesRead === size) throw cause
        throw keelsonError('KEELSON_IO', `"${path}" became shorter while it was read.`, {
          hint: 'Something else is writing to it; try again.',
          path,
          cause,
        })
      }
    } finally {
      await file.close()
    }
  })
}

function hashing(hash: Hash): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })
}
