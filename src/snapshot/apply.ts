import { availableParallelism } from 'node:os'
import { keelsonError, type KeelsonError } from '../errors.ts'
import { helperFailure } from '../runtime/connection.ts'
import type { Helper, LayerApplied, LayerFormat } from '../runtime/protocol.ts'
import { storageError } from '../store/errno.ts'
import { throwIfAborted } from '../util/abort.ts'
import { Semaphore } from '../util/semaphore.ts'
import type { LayerSource, UnpackOptions } from './snapshotter.ts'

/**
 * What a layer may grow to before it is taken for a bomb. Real layers stay far below: the largest published ones (models,
 * data sets) have some tens of gigabytes, Debian as a whole about a million files.
 */
const LIMITS = { bytes: 256 * 1024 ** 3, entries: 10_000_000, ratio: 2000 } as const

/** How this host wants layers written. */
export interface ApplyFormat {
  format: LayerFormat
  /** An ordinary user cannot make device nodes. */
  devices: 'create' | 'skip'
  /** With a single id in the user namespace all files belong to it. */
  owners: 'keep' | 'squash'
  /** Each unpacking is a process with several threads. */
  places: Semaphore
}

/** Twice as many layers at once as there are processors: half of them wait for the network or the disk. */
export const unpackPlaces = () => new Semaphore(2 * availableParallelism())

/** Has the helper unpack a layer into `target` and proves its diff id. */
export async function applyLayer(
  helper: Helper,
  layer: LayerSource,
  target: string,
  { format, devices, owners, places }: ApplyFormat,
  { signal, onProgress }: UnpackOptions,
): Promise<LayerApplied> {
  const { blob, partial, size, compression } = layer
  const onRead = ({ read }: { read?: number }) => {
    if (read !== undefined) onProgress?.(read)
  }
  const apply = (source: string, follow: boolean) =>
    helper.request(
      'layer.apply',
      { source, size, follow, compression, target, format, devices, owners, limits: LIMITS },
      { signal, onProgress: onRead },
    )
  const work = async () => {
    if (partial === undefined) return await apply(blob, false)
    try {
      return await apply(partial, true)
    } catch (error) {
      // Whole meanwhile, and under its own name. Nothing was written: the source is opened first.
      if (isMissing(error, partial)) return await apply(blob, false)
      throw error
    }
  }
  const applied = await places.run(work, signal).catch((error: unknown) => {
    throw layerError(error, layer, target)
  })
  // The last bytes may have been written while the abort was on its way.
  throwIfAborted(signal, 'The unpacking')
  if (applied.diffId !== layer.diffId) {
    throw keelsonError(
      'KEELSON_DIGEST_MISMATCH',
      `A layer unpacks to something else than the image's configuration says.`,
      {
        expected: layer.diffId,
        actual: applied.diffId,
        hint: 'The image was pushed broken, or is a forgery; ask who pushed it.',
      },
    )
  }
  return applied
}

function isMissing(error: unknown, path: string): boolean {
  const failure = helperFailure(error)
  return failure?.errno === 'ENOENT' && failure.path === path
}

/** What the helper says against a layer. */
export function layerError(error: unknown, layer: LayerSource, target: string): KeelsonError {
  const failure = helperFailure(error)
  const what = [failure?.step, failure?.detail].filter(Boolean).join(': ')
  if (failure?.kind === 'layer-invalid') {
    return malformedLayer(layer, { what, path: failure.path, cause: error })
  }
  if (failure?.kind === 'layer-limit') {
    return keelsonError(
      'KEELSON_LAYER_LIMIT',
      `A layer of the image grows beyond what is allowed: ${what}.`,
      {
        cause: error,
        diffId: layer.diffId,
        limits: LIMITS,
        hint: 'Its bytes expand like a bomb; do not use the image unless you know who made it.',
      },
    )
  }
  return storageError(error, 'unpack a layer into', target)
}

export function malformedLayer(
  layer: LayerSource,
  { what, path, cause }: { what: string; path?: string | undefined; cause?: unknown },
): KeelsonError {
  return keelsonError('KEELSON_LAYER_INVALID', `A layer of the image is malformed: ${what}.`, {
    cause,
    diffId: layer.diffId,
    path,
    hint: 'The image was pushed broken, or is made to do harm; ask who pushed it.',
  })
}
