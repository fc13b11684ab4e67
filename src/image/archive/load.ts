import { keelsonError } from '../../errors.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { digestAlgorithm, digestHex, type Digest } from '../../oci/digest.ts'
import { parseDocument, type DocumentNode } from '../../oci/document.ts'
import { decodeManifest, MAX_LAYERS, type Index, type Manifest } from '../../oci/manifest.ts'
import { MEDIA_TYPES } from '../../oci/media-types.ts'
import type { Platform } from '../../oci/platform.ts'
import { parseReference } from '../../oci/reference.ts'
import { resolveManifest } from '../../oci/resolve.ts'
import type { ContentStore } from '../../store/content.ts'
import { REF_NAME } from '../../store/names.ts'
import { nameOf } from '../catalog.ts'
import { IMAGE_NAME } from './save.ts'
import { contentOf, type Unpacked, type UnpackedFile } from './unpacked.ts'

/** An image that an archive holds. */
export interface ArchivedImage {
  names: string[]
  /** Brings its content into the store, whose lease the caller holds; the descriptor of its manifest. */
  write(signal: AbortSignal | undefined): Promise<Descriptor>
}

/**
 * The images in an archive: an OCI image layout, or Docker's format, in either of its generations.
 *
 * @param platform which one of an index
 * @throws `KEELSON_ARCHIVE_INVALID`, `KEELSON_MANIFEST_INVALID`, `KEELSON_MANIFEST_UNSUPPORTED`, `KEELSON_PLATFORM_NOT_FOUND`
 */
export async function imagesIn(
  archive: Unpacked,
  store: ContentStore,
  platform: Platform,
): Promise<ArchivedImage[]> {
  const index = await archive.text('index.json')
  const docker = await archive.text('manifest.json')
  if (index !== undefined) return await fromLayout(archive, store, index, docker, platform)
  if (docker !== undefined) return await fromDocker(archive, store, docker)
  throw keelsonError(
    'KEELSON_ARCHIVE_INVALID',
    'The archive holds no image: it has neither index.json nor manifest.json.',
    {
      hint: 'For the archive of a root file system there is engine.images.import().',
    },
  )
}

async function fromLayout(
  archive: Unpacked,
  store: ContentStore,
  index: Buffer,
  docker: Buffer | undefined,
  platform: Platform,
): Promise<ArchivedImage[]> {
  const document = decodeManifest(index, MEDIA_TYPES.ociIndex)
  if (document.kind !== 'index') return []
  const tags = docker === undefined ? [] : dockerEntries(docker)
  const load = async (descriptor: Descriptor): Promise<Manifest | Index> => {
    const bytes = await archive.text(blobPath(descriptor.digest))
    if (bytes === undefined) throw missing(blobPath(descriptor.digest))
    return decodeManifest(bytes, descriptor.mediaType)
  }
  const images = new Map<Digest, ArchivedImage>()
  for (const entry of document.manifests) {
    const { descriptor, manifest } = await resolveManifest(entry, load, platform)
    const names = namesOf(entry, manifest, tags)
    const known = images.get(descriptor.digest)
    if (known !== undefined) {
      known.names.push(...names.filter((name) => !known.names.includes(name)))
      continue
    }
    const { mediaType, digest, size } = descriptor
    images.set(digest, {
      names,
      write: async (signal) => {
        for (const blob of [manifest.config, ...manifest.layers, { mediaType, digest, size }]) {
          await ingest(archive, store, blobPath(blob.digest), blob, signal)
        }
        return { mediaType, digest, size }
      },
    })
  }
  return [...images.values()]
}

async function fromDocker(
  archive: Unpacked,
  store: ContentStore,
  manifest: Buffer,
): Promise<ArchivedImage[]> {
  return dockerEntries(manifest).map(({ config, layers, names }) => ({
    names,
    write: async (signal) => {
      const document = find(archive, config)
      const described: Descriptor[] = []
      for (const layer of layers) {
        const file = find(archive, layer)
        const descriptor = {
          mediaType: LAYERS[file.compression],
          digest: file.digest,
          size: file.size,
        }
        await ingest(archive, store, layer, descriptor, signal)
        described.push(descriptor)
      }
      const configuration = {
        mediaType: MEDIA_TYPES.dockerConfig,
        digest: document.digest,
        size: document.size,
      }
      await ingest(archive, store, config, configuration, signal)
      const text = {
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.dockerManifest,
        config: configuration,
        layers: described,
      }
      return await store.write(JSON.stringify(text), MEDIA_TYPES.dockerManifest)
    },
  }))
}

const LAYERS: Record<UnpackedFile['compression'], string> = {
  none: MEDIA_TYPES.dockerLayer,
  gzip: MEDIA_TYPES.dockerLayerGzip,
  zstd: MEDIA_TYPES.dockerLayerZstd,
}

interface DockerEntry {
  config: string
  layers: string[]
  names: string[]
}

function dockerEntries(bytes: Buffer): DockerEntry[] {
  const root = parseDocument(bytes, 'manifest.json', 8 * 1024 * 1024)
  return root.elements(1024).map((node) => ({
    config: node.required('Config').string(),
    layers: texts(node.optional('Layers'), MAX_LAYERS),
    names: texts(node.optional('RepoTags'), 1024).flatMap(asName),
  }))
}

const texts = (node: DocumentNode | undefined, limit: number) =>
  node?.elements(limit).map((each) => each.string()) ?? []

function namesOf(entry: Descriptor, manifest: Manifest, tags: DockerEntry[]): string[] {
  const { [IMAGE_NAME]: full, [REF_NAME]: short } = entry.annotations ?? {}
  // A lone tag names no repository: then Docker's own list may.
  const said = full ?? (short !== undefined && /[/:@]/.test(short) ? short : undefined)
  if (said !== undefined) return asName(said)
  const config = blobPath(manifest.config.digest)
  return tags.filter((tag) => tag.config === config).flatMap((tag) => tag.names)
}

/** What another tool wrote may be no name. */
function asName(text: string): string[] {
  try {
    return [nameOf(parseReference(text))]
  } catch {
    return []
  }
}

async function ingest(
  archive: Unpacked,
  store: ContentStore,
  name: string,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (await store.has(descriptor.digest)) return
  await store.ingest(descriptor, contentOf(find(archive, name)), { signal })
}

function find(archive: Unpacked, name: string): UnpackedFile {
  const file = archive.file(name)
  if (file === undefined) throw missing(name)
  return file
}

function missing(name: string) {
  return keelsonError(
    'KEELSON_ARCHIVE_INVALID',
    `The archive lacks ${name}, which it says it has.`,
    {
      hint: 'It is cut short, or was written for another platform; save it again.',
    },
  )
}

const blobPath = (digest: Digest) => `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`
