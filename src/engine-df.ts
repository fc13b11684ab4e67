import { join } from 'node:path'
import type { Containers } from './container/containers.ts'
import { KeelsonError } from './errors.ts'
import type { Images } from './image/images.ts'
import type { Digest } from './oci/digest.ts'
import type { Helper } from './runtime/protocol.ts'
import { converting } from './store/errno.ts'
import type { Volume } from './volume/volume.ts'
import type { Volumes } from './volume/volumes.ts'

/** What an engine's root takes on the disk, in bytes. */
export interface DiskUsage {
  /** All of it. */
  bytes: number
  images: {
    /** Blobs, as they travel. */
    blobs: number
    /** Layers, unpacked. */
    layers: number
    /** `size`: bytes of all its blobs, which it may share with others. */
    items: { id: Digest; references: string[]; size: number }[]
  }
  containers: {
    bytes: number
    /** What each has written into its root file system. */
    items: { id: string; name: string; bytes: number }[]
  }
  volumes: {
    bytes: number
    items: { name: string; bytes: number; containers: string[] }[]
  }
}

/** What disk usage is measured of. */
export interface DiskUsageInput {
  root: string
  snapshotter: string
  helper: Helper
  images: Images
  containers: Containers
  volumes: Volumes
}

/** Of a snapshotter's directory: what containers write, of those that end with an engine and of the others. */
const WRITABLE = ['writable', 'containers']

export async function diskUsage(input: DiskUsageInput): Promise<DiskUsage> {
  const { root, images, containers, volumes } = input
  const snapshots = join(root, 'snapshots', input.snapshotter)
  const measure = (path: string, except?: readonly string[]) => measured(input.helper, path, except)
  // Nothing is measured twice: what was there in one moment cannot be subtracted from what is there in another.
  const [blobs, layers, trees, foundImages, foundContainers, foundVolumes] = await Promise.all([
    measure(join(root, 'content')),
    measure(snapshots, WRITABLE),
    Promise.all(WRITABLE.map((name) => measure(join(snapshots, name)))),
    images.list(),
    containers.list({ all: true }),
    volumes.list(),
  ])
  const containerItems = await Promise.all(
    foundContainers.map(async ({ id, name, core }) => {
      const own = await Promise.all(core.record.rootfs.remove.map((path) => measure(path)))
      return { id, name, bytes: sum(own) }
    }),
  )
  const volumeItems = await Promise.all(foundVolumes.map((volume) => volumeItem(volume, measure)))
  const volumeBytes = sum(volumeItems.map(({ bytes }) => bytes))
  const written = sum(trees)
  return {
    bytes: blobs + layers + written + volumeBytes,
    images: {
      blobs,
      layers,
      items: foundImages.map(({ id, references, size }) => ({
        id,
        references: [...references],
        size,
      })),
    },
    containers: { bytes: written, items: containerItems },
    volumes: { bytes: volumeBytes, items: volumeItems },
  }
}

async function volumeItem(volume: Volume, measure: (path: string) => Promise<number>) {
  const { name, path, containers, options } = await volume.inspect()
  // What the device of a bind holds lies elsewhere.
  const own = path !== undefined && options['device'] === undefined
  return { name, bytes: own ? await measure(path) : 0, containers }
}

/** Nothing, where it was removed meanwhile. */
async function measured(
  helper: Helper,
  path: string,
  except: readonly string[] = [],
): Promise<number> {
  try {
    const { bytes } = await converting('measure', path, () =>
      helper.request('tree.usage', { path, except }),
    )
    return bytes
  } catch (error) {
    if (KeelsonError.is(error) && (error as { errno?: string }).errno === 'ENOENT') return 0
    throw error
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
