import { randomBytes } from 'node:crypto'
import { posix } from 'node:path'
import { keelsonError } from '../../errors.ts'
import type { Image } from '../../image/image.ts'
import type { Digest } from '../../oci/digest.ts'
import type { ExecutionParameters } from '../../oci/image-config.ts'
import type { Snapshotter } from '../../snapshot/snapshotter.ts'
import type { VolumeUser } from '../../volume/claims.ts'
import type { VolumesContext } from '../../volume/context.ts'
import type { VolumeSource } from '../../volume/local.ts'
import type { MountedImage, NormalizedMount } from '../../volume/mount-spec.ts'
import { keepVolume, releaseVolume, useVolume, volumeSource } from '../../volume/use.ts'
import { NO_SOURCES, type MountSources } from './mounts.ts'
import type { NormalizedContainer } from '../normalize/normalize.ts'

/** What mounts of volumes and images need of the engine. */
export interface MountingContext {
  volumes: VolumesContext
  snapshotter: Snapshotter
  /** Found, or pulled where it is missing. */
  findImage(reference: string, signal?: AbortSignal): Promise<Image>
}

/** The volumes that a container has. */
export interface ClaimedVolumes {
  mounts: NormalizedMount[]
  sources: MountSources
  release: () => Promise<void>
}

/** Where an image's volume would hide what keeps the container in. */
const SYSTEM = ['/proc', '/sys', '/dev']

/**
 * Mounts with all that they leave open: names for volumes without one, those that the image declares, what an image is now. A volume that the
 * image declares and that no mount covers is made anew for each container, as Docker does; with a writable layer in memory it belongs to
 * that.
 */
export async function resolveMounts(
  context: MountingContext,
  { mounts, storage, userns }: Pick<NormalizedContainer, 'mounts' | 'storage' | 'userns'>,
  image: ExecutionParameters,
  signal?: AbortSignal,
): Promise<NormalizedMount[]> {
  const declared = storage === undefined ? declaredVolumes(image, mounts) : []
  if (userns !== 'host' && (storage !== undefined || mounts.some(isImage))) {
    throw keelsonError(
      'KEELSON_UNSUPPORTED',
      'Neither a writable layer in memory nor a mount of an image goes with userns.',
      { option: storage === undefined ? 'mounts' : 'storage', hint: 'Leave one of both out.' },
    )
  }
  return await Promise.all(
    [...mounts, ...declared].map(async (mount) => {
      if (mount.type === 'volume' && mount.source === '') {
        return { ...mount, source: randomBytes(32).toString('hex') }
      }
      if (mount.type !== 'image') return mount
      const { id, descriptor, chain } = await context.findImage(mount.source, signal)
      return { ...mount, image: { id, descriptor, chain: [...chain] } }
    }),
  )
}

/** Where the mounts' volumes and images are; volumes that are not there yet, where they will be. */
export async function mountSources(
  { volumes, snapshotter }: Pick<MountingContext, 'volumes' | 'snapshotter'>,
  mounts: readonly NormalizedMount[],
): Promise<MountSources> {
  if (!mounts.some((mount) => isVolume(mount) || isImage(mount))) return NO_SOURCES
  const found = await Promise.all(
    mounts
      .filter(isVolume)
      .map(async ({ source, path }): Promise<[string, VolumeSource]> => [
        source,
        await volumeSource(volumes, source, path),
      ]),
  )
  const images = mounts
    .filter(isImage)
    .map(({ target, image }) => [target, snapshotter.view(image?.chain ?? [])] as const)
  return { volumes: new Map(found), images: new Map(images) }
}

/** The images that are mounted. */
export function mountedImages(mounts: readonly NormalizedMount[]): MountedImage[] {
  return mounts.filter(isImage).flatMap(({ image }) => (image === undefined ? [] : [image]))
}

/** To be held as long as images are mounted. */
export function mountLocks(
  { snapshotter }: Pick<MountingContext, 'snapshotter'>,
  mounts: readonly NormalizedMount[],
): { path: string; mode: 'shared' | 'exclusive' }[] {
  return mountedImages(mounts).flatMap(({ chain }) => snapshotter.locks(chain))
}

/**
 * Gives a container its volumes: made where missing, filled from the image where empty. `undefined` when it has none.
 *
 * @throws what `useVolume` throws; `KEELSON_INVALID_OPTION` for a detached container with a volume of a driver that ends with this program
 */
export async function claimVolumes(
  context: MountingContext,
  user: VolumeUser,
  { mounts, detached }: { mounts: readonly NormalizedMount[]; detached: boolean },
  chain: readonly Digest[],
  signal?: AbortSignal,
): Promise<ClaimedVolumes | undefined> {
  if (!mounts.some(isVolume)) return undefined
  const { volumes, snapshotter } = context
  const image = snapshotter.view(chain)
  const releases = new Map<string, () => Promise<void>>()
  const release = async () => {
    for (const each of [...releases.values()].toReversed()) await each()
  }
  const paths = new Map<string, string>()
  try {
    for (const mount of mounts.filter(isVolume)) {
      const { source: name, target, anonymous, subpath } = mount
      if (releases.has(name)) continue
      const nocopy = mount.nocopy || subpath !== undefined
      const use = { name, target, anonymous, nocopy }
      const used = await useVolume(volumes, user, use, image, signal)
      releases.set(name, used.release)
      if (used.path === undefined) continue
      if (detached) throw ownDriver(name)
      paths.set(name, used.path)
    }
    const claimed = mounts.map((mount) => {
      const path = mount.type === 'volume' ? paths.get(mount.source) : undefined
      return path === undefined ? mount : { ...mount, path }
    })
    return { mounts: claimed, sources: await mountSources(context, claimed), release }
  } catch (error) {
    await release()
    throw error
  }
}

/** Settles, before a container is removed, whether its anonymous volumes go with it. */
export async function keepVolumes(
  { volumes }: Pick<MountingContext, 'volumes'>,
  mounts: readonly NormalizedMount[],
  keep: boolean,
): Promise<void> {
  const anonymous = mounts.filter(isVolume).filter((mount) => mount.anonymous)
  await Promise.all(anonymous.map(({ source }) => keepVolume(volumes, source, keep)))
}

/** Takes the volumes from a container that is no more. A second call does nothing. */
export async function releaseVolumes(
  { volumes }: Pick<MountingContext, 'volumes'>,
  container: string,
  mounts: readonly NormalizedMount[],
): Promise<void> {
  for (const { source, path } of mounts.filter(isVolume)) {
    await releaseVolume(volumes, source, { container, ...(path !== undefined && { path }) })
  }
}

function isVolume(mount: NormalizedMount): mount is Extract<NormalizedMount, { type: 'volume' }> {
  return mount.type === 'volume'
}

function isImage(mount: NormalizedMount): mount is Extract<NormalizedMount, { type: 'image' }> {
  return mount.type === 'image'
}

function declaredVolumes(
  { Volumes = {} }: ExecutionParameters,
  mounts: readonly NormalizedMount[],
): NormalizedMount[] {
  const targets = new Set(mounts.map(({ target }) => target))
  const paths = Object.keys(Volumes).map((path) => posix.resolve('/', path))
  return [...new Set(paths)]
    .filter((path) => path !== '/' && !targets.has(path) && !isSystem(path))
    .map((target) => ({
      type: 'volume',
      source: '',
      target,
      readonly: false,
      nocopy: false,
      anonymous: true,
    }))
}

function isSystem(path: string): boolean {
  return SYSTEM.some((each) => path === each || path.startsWith(`${each}/`))
}

function ownDriver(name: string) {
  return keelsonError(
    'KEELSON_INVALID_OPTION',
    `The driver of the volume ${name} ends with this program.`,
    { option: 'detached', volume: name, hint: "Leave detached out, or use the driver 'local'." },
  )
}
