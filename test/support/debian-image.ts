import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import type { Digest } from '../../src/oci/digest.ts'
import type { ExecutionParameters } from '../../src/oci/image-config.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { hostPlatform } from '../../src/oci/platform.ts'
import { exists, install, type CachedImage } from './busybox-image.ts'
import { addToIndex, document } from './image-layout.ts'
import { run } from './process.ts'
import { cache } from './repository.ts'

export const SUITE = 'bookworm'

/**
 * A minimal Debian as one gzip layer (about 180 MB of files), made by debootstrap once and kept for later runs. Needs root
 * and the Debian mirror that apt uses.
 */
export async function debianImage(): Promise<CachedImage> {
  const image = { layout: join(cache, 'images', `debian-${SUITE}`), name: `debian:${SUITE}` }
  if (await exists(image.layout)) return image
  const temporary = `${image.layout}.${process.pid}`
  try {
    const layer = await packTree(await debianTree(), temporary)
    await writeImage(temporary, image.name, [layer], {
      Cmd: ['bash'],
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    })
    await install(temporary, image.layout)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
  return image
}

/** The root file system of a minimal Debian; kept for later runs: do not change it. */
export async function debianTree(): Promise<string> {
  const tree = join(cache, `debian-${SUITE}`)
  if (await exists(tree)) return tree
  const temporary = `${tree}.${process.pid}`
  try {
    await mkdir(temporary, { recursive: true })
    await run('debootstrap', ['--variant=minbase', SUITE, temporary, await mirror()])
    await rm(join(temporary, 'var/cache/apt/archives'), { recursive: true, force: true })
    await install(temporary, tree)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
  return tree
}

/** Where this machine's packages come from. */
export async function mirror(): Promise<string> {
  const { stdout } = await run('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI)',
    'Identifier: Packages',
  ])
  const uris = stdout.split('\n')
  return uris.find((uri) => /\/debian\/?$/.test(uri)) ?? 'http://deb.debian.org/debian'
}

/** A layer in a layout, and what it unpacks to. */
export interface PackedLayer {
  descriptor: Descriptor
  diffId: Digest
}

/** Packs a tree as a gzip layer into an OCI image layout directory. */
export async function packTree(tree: string, layout: string): Promise<PackedLayer> {
  const incoming = join(layout, `layer.${randomBytes(4).toString('hex')}`)
  const archive = spawn(
    'tar',
    [
      '--create',
      '--numeric-owner',
      '--xattrs',
      '--xattrs-include=*',
      '--sort=name',
      '--one-file-system',
      '-C',
      tree,
      '.',
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const ended = once(archive, 'close') as Promise<[number | null]>
  const diffId = createHash('sha256')
  const digest = createHash('sha256')
  await mkdir(join(layout, 'blobs', 'sha256'), { recursive: true })
  await pipeline(
    archive.stdout,
    tap((chunk) => diffId.update(chunk)),
    createGzip({ level: 6 }),
    tap((chunk) => digest.update(chunk)),
    createWriteStream(incoming),
  )
  const [code] = await ended
  if (code !== 0) throw new Error(`tar: exit code ${code}`)
  const descriptor = {
    mediaType: MEDIA_TYPES.ociLayerGzip,
    digest: `sha256:${digest.digest('hex')}` as const,
    size: (await stat(incoming)).size,
  }
  await rename(incoming, join(layout, 'blobs', descriptor.digest.replace(':', '/')))
  return { descriptor, diffId: `sha256:${diffId.digest('hex')}` }
}

/** Makes an image of layers that lie in a layout. */
export async function writeImage(
  layout: string,
  name: string,
  layers: readonly PackedLayer[],
  parameters: ExecutionParameters,
): Promise<void> {
  const config = document(MEDIA_TYPES.ociConfig, {
    created: '1970-01-01T00:00:00Z',
    ...hostPlatform(),
    config: parameters,
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
  })
  const manifest = document(MEDIA_TYPES.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: config.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
  })
  for (const { descriptor, bytes } of [config, manifest]) {
    await writeFile(join(layout, 'blobs', descriptor.digest.replace(':', '/')), bytes)
  }
  await addToIndex(layout, name, manifest.descriptor)
}

function tap(see: (chunk: Buffer) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      see(chunk)
      done(null, chunk)
    },
  })
}
