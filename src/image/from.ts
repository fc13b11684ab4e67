import { createReadStream } from 'node:fs'
import type { Descriptor } from '../oci/descriptor.ts'
import type { ExecutionParameters } from '../oci/image-config.ts'
import { MEDIA_TYPES } from '../oci/media-types.ts'
import { hostPlatform, normalizePlatform, parsePlatform, type Platform } from '../oci/platform.ts'
import type { ContentStore } from '../store/content.ts'
import { throwIfAborted } from '../util/abort.ts'
import { planFiles, type ImageFiles } from './files.ts'
import { arrange, type LayerEntry } from './layer-entry.ts'
import { checkParameters } from './parameters.ts'
import { packLayer } from './tar-layer.ts'

/** How an image is put together from values. */
export interface ImageFromOptions {
  /** What it runs on. Default: this host's platform. */
  platform?: string | Platform
  /** How its layer is packed. Default `none`: what stays on this host need not be smaller. */
  compression?: 'none' | 'gzip'
  /** When it was made, and the time of files that have no `mtime`. Default 1970-01-01: the same input gives the same image id. */
  created?: Date
  signal?: AbortSignal
}

/**
 * Writes an image of one layer into a store: the layer, the configuration and the manifest.
 *
 * Everything is checked and looked up before the first byte is written. The caller holds a lease on the store until the image is named.
 *
 * @returns the descriptor of its manifest
 * @throws `KEELSON_INVALID_OPTION`, `KEELSON_INVALID_PLATFORM`, `KEELSON_PERMISSION`, `KEELSON_NO_SPACE`, `KEELSON_IO`, `KEELSON_ABORTED`
 */
export async function imageFromFiles(
  store: ContentStore,
  files: ImageFiles,
  config: ExecutionParameters = {},
  options: ImageFromOptions = {},
): Promise<Descriptor> {
  const entries = await planFiles(files, options.created ?? EPOCH)
  return await imageFromEntries(store, entries, config, { ...options, by: 'images.from' })
}

/** The same from entries that are ready. `by` is what the history says. */
export async function imageFromEntries(
  store: ContentStore,
  entries: Iterable<LayerEntry>,
  config: ExecutionParameters,
  options: ImageFromOptions & { by: string },
): Promise<Descriptor> {
  const { compression = 'none', created = EPOCH, signal, by } = options
  checkParameters(config, 'config')
  const platform = platformOf(options.platform)
  const arranged = arrange(entries, created)
  throwIfAborted(signal, 'Making the image')
  await using layer = await packLayer(arranged, store.layout.ingest, { compression, signal })
  await store.ingest(layer.descriptor, (start) => createReadStream(layer.path, { start }), {
    signal,
  })
  const configDescriptor = await store.write(
    JSON.stringify({
      created: created.toISOString(),
      ...platform,
      config,
      rootfs: { type: 'layers', diff_ids: [layer.diffId] },
      history: [{ created: created.toISOString(), created_by: `keelson ${by}` }],
    }),
    MEDIA_TYPES.ociConfig,
  )
  return await store.write(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: configDescriptor,
      layers: [layer.descriptor],
    }),
    MEDIA_TYPES.ociManifest,
  )
}

const EPOCH = new Date(0)

function platformOf(platform: string | Platform | undefined): Platform {
  if (platform === undefined) return hostPlatform()
  return typeof platform === 'string' ? parsePlatform(platform) : normalizePlatform(platform)
}
