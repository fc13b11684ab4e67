import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { hostPlatform } from '../../src/oci/platform.ts'
import { exists, install, type CachedImage } from './busybox-image.ts'
import { addToIndex, document } from './image-layout.ts'
import { run } from './process.ts'
import { cache } from './repository.ts'

const SUITE = 'bookworm'

/**
 * A minimal Debian as one gzip layer (about 180 MB of files), made by debootstrap once and kept for later runs. Needs root
 * and the Debian mirror that apt uses.
 */
export async function debianImage(): Promise<CachedImage> {
  const image = { layout: join(cache, 'images', `debian-${SUITE}`), name: `debian:${SUITE}` }
  if (await exists(image.layout)) return image
  const temporary = `${image.layout}.${process.pid}`
  try {
    await mkdir(join(temporary, 'blobs', 'sha256'), { recursive: true })
    await writeImage(await debianTree(), temporary, image.name)
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

async function mirror(): Promise<string> {
  const { stdout } = await run('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI)',
    'Identifier: Packages',
  ])
  const uris = stdout.split('\n')
  return uris.find((uri) => /\/debian\/?$/.test(uri)) ?? 'http://deb.debian.org/debian'
}

async function writeImage(tree: string, layout: string, name: string): Promise<void> {
  const incoming = join(layout, 'layer')
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
  await pipeline(
    archive.stdout,
    tap((chunk) => diffId.update(chunk)),
    createGzip({ level: 6 }),
    tap((chunk) => digest.update(chunk)),
    createWriteStream(incoming),
  )
  const [code] = await ended
  if (code !== 0) throw new Error(`tar: exit code ${code}`)
  const layer = {
    mediaType: MEDIA_TYPES.ociLayerGzip,
    digest: `sha256:${digest.digest('hex')}` as const,
    size: (await stat(incoming)).size,
  }
  await rename(incoming, join(layout, 'blobs', layer.digest.replace(':', '/')))
  const config = document(MEDIA_TYPES.ociConfig, {
    created: '1970-01-01T00:00:00Z',
    ...hostPlatform(),
    config: {
      Cmd: ['bash'],
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${diffId.digest('hex')}`] },
  })
  const manifest = document(MEDIA_TYPES.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: config.descriptor,
    layers: [layer],
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
