import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Descriptor } from '../oci/descriptor.ts'
import { parseDigest } from '../oci/digest.ts'
import type { ExecutionParameters } from '../oci/image-config.ts'
import { MEDIA_TYPES } from '../oci/media-types.ts'
import type { ContentStore } from '../store/content.ts'
import { TEMPORARY_SUFFIX } from '../store/records.ts'
import { throwIfAborted } from '../util/abort.ts'
import type { ImageDocuments } from './documents.ts'
import { checkParameters } from './parameters.ts'

/** What is otherwise in a new image's configuration: `null` takes a field away; environment, labels, ports and volumes are added to. */
export type ConfigChanges = {
  [Field in keyof ExecutionParameters]?: ExecutionParameters[Field] | null
}

/** A layer that was written to a file. */
export interface WrittenLayer {
  digest: string
  size: number
  diffId: string
  /** None: nothing was changed, and the image gets no layer. */
  entries: number
}

export interface LayeredOptions {
  changes?: ConfigChanges
  author?: string
  /** For the history. */
  message?: string
  /** What the history says made the layer. */
  by: string
  compression: 'none' | 'gzip'
  signal?: AbortSignal | undefined
}

/**
 * Writes an image that is another one and a layer more. The caller holds a lease on the store until it is named.
 *
 * @param write makes the layer's file, which is missing yet
 * @returns the descriptor of its manifest
 */
export async function imageFromLayer(
  store: ContentStore,
  base: ImageDocuments,
  write: (file: string) => Promise<WrittenLayer>,
  options: LayeredOptions,
): Promise<Descriptor> {
  const { author, message, by, compression, signal } = options
  const docker = base.manifest.mediaType === MEDIA_TYPES.dockerManifest
  const types = docker ? DOCKER : OCI
  const file = join(store.layout.ingest, `${randomBytes(8).toString('hex')}${TEMPORARY_SUFFIX}`)
  let layer: WrittenLayer
  let descriptor: Descriptor
  try {
    layer = await write(file)
    const mediaType = compression === 'gzip' ? types.gzip : types.plain
    descriptor = { mediaType, digest: parseDigest(layer.digest), size: layer.size }
    if (layer.entries > 0) {
      await store.ingest(descriptor, (start) => createReadStream(file, { start }), { signal })
    }
  } finally {
    await rm(file, { force: true })
  }
  throwIfAborted(signal, 'Making the image')
  const created = new Date().toISOString()
  const changed = layer.entries > 0
  const { os, architecture, variant, config, rootfs, history } = base.config
  const configuration = {
    created,
    ...(author === undefined ? {} : { author }),
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    config: changedConfig(config, options.changes ?? {}),
    rootfs: {
      type: 'layers',
      diff_ids: changed ? [...rootfs.diff_ids, parseDigest(layer.diffId)] : rootfs.diff_ids,
    },
    history: [
      ...history,
      {
        created,
        created_by: by,
        ...(author === undefined ? {} : { author }),
        ...(message === undefined ? {} : { comment: message }),
        ...(changed ? {} : { empty_layer: true }),
      },
    ],
  }
  const configDescriptor = await store.write(JSON.stringify(configuration), types.config)
  const layers = base.manifest.layers
  return await store.write(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: types.manifest,
      config: configDescriptor,
      layers: changed ? [...layers, descriptor] : layers,
    }),
    types.manifest,
  )
}

const OCI = {
  manifest: MEDIA_TYPES.ociManifest,
  config: MEDIA_TYPES.ociConfig,
  plain: MEDIA_TYPES.ociLayer,
  gzip: MEDIA_TYPES.ociLayerGzip,
}
const DOCKER = {
  manifest: MEDIA_TYPES.dockerManifest,
  config: MEDIA_TYPES.dockerConfig,
  plain: MEDIA_TYPES.dockerLayer,
  gzip: MEDIA_TYPES.dockerLayerGzip,
}

/**
 * The configuration of an image with changes. Lists of names and values grow, the later of one name counting; all else is replaced.
 *
 * @throws `KEELSON_INVALID_OPTION` for a field that no configuration has, and for what it cannot be
 */
export function changedConfig(
  config: ExecutionParameters,
  changes: ConfigChanges,
): ExecutionParameters {
  checkParameters(changes, 'changes')
  const result: Record<string, unknown> = { ...config }
  for (const [field, value] of Object.entries(changes)) {
    if (value === undefined) continue
    if (value === null) delete result[field]
    else if (field === 'Env') result[field] = mergedEnv(config.Env ?? [], value as string[])
    else if (field === 'Labels' || field === 'ExposedPorts' || field === 'Volumes') {
      result[field] = { ...config[field], ...(value as object) }
    } else result[field] = value
  }
  return result
}

function mergedEnv(before: readonly string[], added: readonly string[]): string[] {
  const byName = new Map(before.map((line) => [nameOf(line), line]))
  for (const line of added) byName.set(nameOf(line), line)
  return [...byName.values()]
}

const nameOf = (line: string) => line.slice(0, line.indexOf('=') + 1 || undefined)
