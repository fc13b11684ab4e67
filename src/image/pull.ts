import { keelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { MAX_CONFIG_BYTES } from '../oci/image-config.ts'
import { decodeManifest, MAX_MANIFEST_BYTES, type Index, type Manifest } from '../oci/manifest.ts'
import { formatPlatform, platformRuns, type Platform } from '../oci/platform.ts'
import type { Reference } from '../oci/reference.ts'
import { resolveManifest } from '../oci/resolve.ts'
import type { RegistryAuth } from '../registry/options.ts'
import type { Snapshotter } from '../snapshot/snapshotter.ts'
import type { ContentStore } from '../store/content.ts'
import { SOURCE_DIGEST } from '../store/names.ts'
import { throwIfAborted } from '../util/abort.ts'
import { nameOf } from './catalog.ts'
import { checkDocumentSize, type Documents, type ImageDocuments } from './documents.ts'
import { together, type BlobOrigin, type LayerFetcher, type Registry } from './layers.ts'
import { ProgressReport, type PullProgress } from './progress.ts'

/** What pulling needs of the engine. */
export interface PullContext {
  store: ContentStore
  snapshotter: Snapshotter
  registry: Registry
  documents: Documents
  layers: LayerFetcher
}

export interface PullRequest {
  reference: Reference
  platform: Platform
  auth?: RegistryAuth | undefined
  onProgress?: ((progress: PullProgress) => void) | undefined
  signal?: AbortSignal | undefined
}

/**
 * Brings the image that a registry has under a reference into the store, makes its snapshots, and names it when all of it stands.
 *
 * Stopped anywhere, by abort, failure or SIGKILL, it leaves whole blobs and snapshots that nothing names (the next pull finds them, the
 * next sweep removes them) and half blobs that can be resumed: no lock, no half snapshot, no name.
 */
export async function pullImage(
  context: PullContext,
  request: PullRequest,
): Promise<ImageDocuments> {
  const { store, documents } = context
  const { reference, platform, signal } = request
  await using _ = await store.lease({ signal })
  const { source, descriptor, manifest } = await resolve(context, request)
  checkDocumentSize(manifest.config, MAX_CONFIG_BYTES)
  await readable(context, manifest.config, request)
  const image = await documents.image(descriptor, platform)
  checkPlatform(image, platform, reference.familiar())
  await bringLayers(context, image, request, request)
  throwIfAborted(signal, `The pull of ${reference.toString()}`)
  await store.names.set([nameOf(reference)], describe(image, source), { signal })
  return image
}

/** Makes the snapshots of an image that the store has, as after a change of the snapshotter. Missing blobs are fetched again. */
export async function unpackImage(
  context: PullContext,
  image: ImageDocuments,
  origin: BlobOrigin,
  options: Pick<PullRequest, 'onProgress' | 'signal'>,
): Promise<void> {
  await using _ = await context.store.lease(options)
  await bringLayers(context, image, origin, options)
}

/** Makes an image that `write` puts into the store ready to run, and names it when all of it stands. */
export async function makeImage(
  context: PullContext,
  platform: Platform,
  names: readonly string[],
  signal: AbortSignal | undefined,
  write: () => Promise<Descriptor>,
): Promise<ImageDocuments> {
  const { store, documents } = context
  await using _ = await store.lease({ signal })
  const image = await documents.image(await write(), platform)
  await bringLayers(context, image, {}, { signal })
  throwIfAborted(signal, 'Making the image')
  await store.names.set(names, describe(image), { signal })
  return image
}

/** How `index.json` lists an image of this platform. */
export function describe({ descriptor, config }: ImageDocuments, source?: string): Descriptor {
  const { mediaType, digest, size } = descriptor
  const { os, architecture, variant } = config
  return {
    mediaType,
    digest,
    size,
    platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
    ...(source === undefined || source === digest
      ? {}
      : { annotations: { [SOURCE_DIGEST]: source } }),
  }
}

/** From the name to the manifest for the platform, which is then in the store. `source` is what the name itself led to. */
async function resolve(
  { store, registry }: PullContext,
  { reference, platform, auth, signal }: PullRequest,
): Promise<{ source: Digest; descriptor: Descriptor; manifest: Manifest }> {
  const root = await registry.manifest(reference, { auth, signal })
  const fetched = new Map<Digest, { bytes: Uint8Array; mediaType: string }>()
  const load = async (descriptor: Descriptor): Promise<Manifest | Index> => {
    checkDocumentSize(descriptor, MAX_MANIFEST_BYTES)
    const { digest, mediaType, size } = descriptor
    const { bytes } =
      digest === root.descriptor.digest
        ? root
        : await registry.manifest(reference, { digest, auth, signal })
    if (bytes.length !== size) {
      throw keelsonError(
        'KEELSON_SIZE_MISMATCH',
        `The manifest ${digest} has ${bytes.length} bytes, but the index says ${size}.`,
        { digest, expected: size, actual: bytes.length, hint: 'The image was pushed broken.' },
      )
    }
    fetched.set(digest, { bytes, mediaType })
    return decodeManifest(bytes, mediaType)
  }
  const { descriptor, manifest } = await resolveManifest(root.descriptor, load, platform)
  const document = fetched.get(descriptor.digest)
  if (document !== undefined) {
    await store.write(document.bytes, document.mediaType, { digest: descriptor.digest })
  }
  return { source: root.descriptor.digest, descriptor, manifest }
}

/** A document that can be read: fetched when missing, and again when the disk damaged it. */
async function readable(
  { store, layers }: PullContext,
  descriptor: Descriptor,
  request: PullRequest,
): Promise<void> {
  if ((await store.has(descriptor.digest)) && !(await store.verify(descriptor, request))) {
    await store.discard(descriptor.digest)
  }
  await layers.blob(descriptor, request, request.signal)
}

async function bringLayers(
  { layers }: PullContext,
  image: ImageDocuments,
  origin: BlobOrigin,
  { onProgress, signal }: Pick<PullRequest, 'onProgress' | 'signal'>,
): Promise<void> {
  const broken = new AbortController()
  const report = new ProgressReport(
    image.layers.map((layer) => layer.descriptor),
    onProgress,
    (error) => broken.abort(error),
  )
  image.layers.forEach((_, index) => report.layer(index).waiting())
  let below: Promise<unknown> = Promise.resolve()
  await together(
    signal === undefined ? broken.signal : AbortSignal.any([signal, broken.signal]),
    image.layers.map((layer, index) => (own) => {
      const chainId = image.chain[index]
      const diffId = image.config.rootfs.diff_ids[index]
      if (chainId === undefined || diffId === undefined) throw new RangeError(`no layer ${index}`)
      const task = {
        ...layer,
        diffId,
        chainId,
        parents: image.chain.slice(0, index),
        parentsReady: below,
      }
      const work = layers.layer(task, origin, report.layer(index), own)
      below = Promise.all([below, work])
      // Nobody may be waiting for it yet.
      below.catch(() => undefined)
      return work
    }),
  )
}

/** An index may be silent about what it lists, and a manifest without an index always is. */
export function checkPlatform(image: ImageDocuments, wanted: Platform, name: string): void {
  if (platformRuns(image.config, wanted)) return
  const available = formatPlatform(image.config)
  throw keelsonError(
    'KEELSON_PLATFORM_NOT_FOUND',
    `The image ${name} is made for ${available}, not for ${formatPlatform(wanted)}.`,
    {
      platform: formatPlatform(wanted),
      available: [available],
      hint: `Choose it with the option platform: '${available}', if this host can run it.`,
    },
  )
}
