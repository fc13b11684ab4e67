import { rm, stat } from 'node:fs/promises'
import { keelsonError } from '../errors.ts'
import type { RootfsMount } from '../runtime/protocol.ts'
import { claimVolume, volumeUsers, type VolumeUser } from './claims.ts'
import type { VolumesContext } from './context.ts'
import { copyUp } from './copy-up.ts'
import { callDriver, mountByDriver, noDriver } from './driver.ts'
import { localSource, type VolumeSource } from './local.ts'
import { makeVolume } from './make.ts'
import { loadVolume, saveVolume, type VolumeRecord } from './record.ts'
import { lockVolume, removeVolume } from './remove.ts'
import { ANONYMOUS_LABEL } from './volumes.ts'

/** Makers and removers that one use of a volume may meet. */
const ATTEMPTS = 100

/** How a container uses a volume. */
export interface VolumeUse {
  name: string
  target: string
  anonymous: boolean
  nocopy: boolean
}

/** A volume that a container has, and how to let go of it. */
export interface UsedVolume {
  /** Where another driver than `local` has mounted it. */
  path?: string
  /** The volume stays, unless it is an anonymous one of this container's that is not to be kept. */
  release: () => Promise<void>
}

/**
 * Gives a container a volume, which is made where it is missing, and filled from the image where it is empty. Until it is released, or the
 * container's owners are gone, it cannot be removed.
 *
 * @throws `KEELSON_VOLUME_DRIVER`, `KEELSON_VOLUME_RECORD`, `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`, `KEELSON_IO`, `KEELSON_ABORTED`
 */
export async function useVolume(
  context: VolumesContext,
  user: VolumeUser,
  use: VolumeUse,
  image: RootfsMount[],
  signal?: AbortSignal,
): Promise<UsedVolume> {
  const { name } = use
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const record = (await loadVolume(context.places, name)) ?? (await make(context, user, use))
    const lock = record && (await lockVolume(context, name, signal))
    // Somebody else made it, or removed it, in the same moment.
    if (record === undefined || lock === undefined) continue
    let path = ''
    try {
      await claimVolume(context.places, name, user)
      if (record.driver !== 'local') path = await mount(context, record, user)
      else if (!use.nocopy && record.options['type'] === undefined) {
        const { target, anonymous } = use
        await copyUp(context, name, image, { path: target, durable: !anonymous }, signal)
      }
    } catch (error) {
      await lock.release()
      await releaseVolume(context, name, { container: user.container, path })
      throw error
    }
    await lock.release()
    return {
      ...(path !== '' && { path }),
      release: () => releaseVolume(context, name, { container: user.container, path }),
    }
  }
  throw keelsonError('KEELSON_VOLUME_RECORD', `The volume ${name} has no record.`, {
    path: context.places.directory(name),
    hint: 'Move its data elsewhere and remove that directory.',
  })
}

/**
 * Where the files of a volume are, or will be once it is made.
 *
 * @param path where a driver has mounted it
 */
export async function volumeSource(
  { places }: Pick<VolumesContext, 'places'>,
  name: string,
  path = '',
): Promise<VolumeSource> {
  const options = path === '' ? (await loadVolume(places, name))?.options : undefined
  return sourceOf({ places }, { name, options: options ?? {} }, path)
}

/** Whether an anonymous volume goes with its container. */
export async function keepVolume(
  context: VolumesContext,
  name: string,
  keep: boolean,
): Promise<void> {
  const { places } = context
  const wanted = (record: VolumeRecord | undefined) =>
    record?.anonymous === undefined || record.anonymous.keep === keep
  if (wanted(await loadVolume(places, name))) return
  await using _ = await lockVolume(context, name)
  const record = await loadVolume(places, name)
  if (record?.anonymous === undefined) return
  const anonymous = { ...record.anonymous, keep }
  await saveVolume(places.record(name), { ...record, anonymous })
}

/** Takes a volume from a container that is no more. A second call does nothing. */
export async function releaseVolume(
  context: VolumesContext,
  name: string,
  { container, path = '' }: { container: string; path?: string },
): Promise<void> {
  const { places, drivers } = context
  const record = await loadVolume(places, name)
  if (record === undefined) return
  const claim = places.user(name, container)
  if (!(await isThere(claim))) return
  const driver = drivers.get(record.driver)
  if (path !== '' && driver !== undefined) {
    await callDriver(driver, name, 'unmount', () => driver.unmount?.(record, { container, path }))
  }
  await rm(claim, { force: true })
  if (record.anonymous?.container !== container || record.anonymous.keep) return
  // Named by another container, it stays until that is gone, too.
  if ((await volumeUsers(context, name)).length === 0) await removeVolume(context, record)
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function sourceOf(
  { places }: Pick<VolumesContext, 'places'>,
  { name, options }: Pick<VolumeRecord, 'name' | 'options'>,
  path: string,
): VolumeSource {
  if (path !== '') return { kind: 'directory', path }
  return localSource(options, places.data(name))
}

async function mount(
  { drivers }: VolumesContext,
  record: VolumeRecord,
  { container }: VolumeUser,
): Promise<string> {
  const driver = drivers.get(record.driver)
  if (driver === undefined) throw noDriver(record.driver, drivers.keys())
  return await mountByDriver(driver, record, container)
}

/** `undefined` when somebody else was quicker. */
async function make(
  context: VolumesContext,
  { container }: VolumeUser,
  { name, anonymous }: VolumeUse,
): Promise<VolumeRecord | undefined> {
  const record: VolumeRecord = {
    name,
    createdAt: new Date().toISOString(),
    driver: 'local',
    options: {},
    labels: anonymous ? { [ANONYMOUS_LABEL]: '' } : {},
    ...(anonymous && { anonymous: { container, keep: false } }),
  }
  try {
    await makeVolume(context, record)
    return record
  } catch (error) {
    if ((error as { code?: string }).code === 'KEELSON_NAME_IN_USE') return undefined
    throw error
  }
}
