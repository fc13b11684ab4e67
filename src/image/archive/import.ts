import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import * as zlib from 'node:zlib'
import { KeelsonError, keelsonError } from '../../errors.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import type { ExecutionParameters } from '../../oci/image-config.ts'
import { MEDIA_TYPES } from '../../oci/media-types.ts'
import type { Platform } from '../../oci/platform.ts'
import type { ContentStore } from '../../store/content.ts'
import { storageError } from '../../store/errno.ts'
import { TEMPORARY_SUFFIX } from '../../store/records.ts'
import { throwIfAborted } from '../../util/abort.ts'
import { checkParameters } from '../parameters.ts'
import { archiveError, compressionOf, openArchive, type ArchiveSource } from './unpacked.ts'

export interface ImportOptions {
  /** How it wants to be run. */
  config?: ExecutionParameters
  /** For the history. */
  message?: string
  signal?: AbortSignal | undefined
}

const LAYERS = {
  none: MEDIA_TYPES.ociLayer,
  gzip: MEDIA_TYPES.ociLayerGzip,
  zstd: MEDIA_TYPES.ociLayerZstd,
}

/**
 * Writes an image of one layer, which is an archive of a whole root file system, byte for byte as it is. The caller holds a lease on the
 * store.
 *
 * @returns the descriptor of its manifest
 */
export async function imageFromArchive(
  store: ContentStore,
  source: ArchiveSource,
  platform: Platform,
  { config = {}, message, signal }: ImportOptions,
): Promise<Descriptor> {
  checkParameters(config, 'config')
  const file = join(store.layout.ingest, `${randomBytes(8).toString('hex')}${TEMPORARY_SUFFIX}`)
  try {
    const { layer, diffId } = await layerFrom(source, file, signal)
    await store.ingest(layer, (start) => createReadStream(file, { start }), { signal })
    const created = new Date().toISOString()
    const { os, architecture, variant } = platform
    const history = {
      created,
      created_by: 'keelson images.import',
      ...(message === undefined ? {} : { comment: message }),
    }
    const configuration = {
      created,
      os,
      architecture,
      ...(variant === undefined ? {} : { variant }),
      config,
      rootfs: { type: 'layers', diff_ids: [diffId] },
      history: [history],
    }
    return await store.write(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        config: await store.write(JSON.stringify(configuration), MEDIA_TYPES.ociConfig),
        layers: [layer],
      }),
      MEDIA_TYPES.ociManifest,
    )
  } finally {
    await rm(file, { force: true })
  }
}

async function layerFrom(
  source: ArchiveSource,
  file: string,
  signal: AbortSignal | undefined,
): Promise<{ layer: Descriptor; diffId: string }> {
  const input = await openArchive(source)
  const [digest, diff] = [createHash('sha256'), createHash('sha256')]
  let size = 0
  let start = Buffer.alloc(0)
  let unpack: PassThrough | ReturnType<typeof unpacker> | undefined
  let unpacked: Promise<unknown> = Promise.resolve()
  const through = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      digest.update(chunk)
      size += chunk.length
      if (unpack === undefined) {
        start = Buffer.concat([start, chunk])
        if (start.length >= 4) {
          unpack = unpacker(start)
          unpacked = pipeline(unpack, async (plain: AsyncIterable<Buffer>) => {
            for await (const piece of plain) diff.update(piece)
          })
          unpacked.catch(() => undefined)
          await write(unpack, start, unpacked)
        }
      } else {
        await write(unpack, chunk, unpacked)
      }
      yield chunk
    }
    if (unpack === undefined) throw new Error('it is empty')
    unpack.end()
    await unpacked
  }
  try {
    const output = createWriteStream(file, { flags: 'wx', mode: 0o644 })
    await pipeline(input, through, output, ...(signal === undefined ? [] : [{ signal }]))
  } catch (error) {
    unpack?.destroy()
    throwIfAborted(signal, 'Importing the image')
    if (KeelsonError.is(error)) throw error
    const code = (error as { code?: unknown }).code
    const ours = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EACCES'
    throw ours ? storageError(error, 'write', file) : archiveError(error)
  }
  const layer: Descriptor = {
    mediaType: LAYERS[compressionOf(start)],
    digest: `sha256:${digest.digest('hex')}`,
    size,
  }
  return { layer, diffId: `sha256:${diff.digest('hex')}` }
}

/** Waits while the other side has enough; its failure is ours. */
async function write(
  to: NodeJS.WritableStream,
  chunk: Buffer,
  done: Promise<unknown>,
): Promise<void> {
  if (to.write(chunk)) return
  await Promise.race([new Promise<void>((resolve) => void to.once('drain', () => resolve())), done])
}

function unpacker(start: Buffer) {
  const compression = compressionOf(start)
  if (compression === 'none') return new PassThrough()
  if (compression === 'gzip') return zlib.createGunzip()
  // Node has it since 22.15.
  const { createZstdDecompress } = zlib as { createZstdDecompress?: typeof zlib.createGunzip }
  if (createZstdDecompress !== undefined) return createZstdDecompress()
  throw keelsonError('KEELSON_UNSUPPORTED', 'This version of Node cannot read zstd.', {
    hint: 'Unpack the archive first, or use Node 22.15 or newer.',
  })
}
