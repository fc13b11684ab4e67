import { randomBytes } from 'node:crypto'
import { rename } from 'node:fs/promises'
import { keelsonError } from '../errors.ts'
import { helperFailure } from '../runtime/connection.ts'
import { converting, errnoOf } from '../store/errno.ts'
import { acquireLock, type Lock } from '../store/lock.ts'
import { syncDirectory } from '../store/records.ts'
import { volumeUsers } from './claims.ts'
import type { VolumesContext } from './context.ts'
import { callDriver, noDriver } from './driver.ts'
import { aboutVolume, type VolumeRecord } from './record.ts'

/**
 * Removes a volume and what is in it. Of one that is not there any more, nothing is to be done.
 *
 * @throws `KEELSON_VOLUME_IN_USE` with the `containers`, `KEELSON_VOLUME_DRIVER`
 */
export async function removeVolume(context: VolumesContext, record: VolumeRecord): Promise<void> {
  const { helper, places } = context
  const { name } = record
  await using _ = await acquireLock(helper, places.lock, 'shared')
  const lock = await lockVolume(context, name)
  if (lock === undefined) return
  const removing = places.removing(name, randomBytes(6).toString('hex'))
  try {
    const containers = await volumeUsers(context, name)
    if (containers.length > 0) {
      throw keelsonError('KEELSON_VOLUME_IN_USE', `Containers use the volume ${name}.`, {
        volume: name,
        containers,
        hint: 'Remove them first.',
      })
    }
    if (record.driver !== 'local') await removeByDriver(context, record)
    // Out of its place under the lock: who waits for the lock finds no volume rather than half of one.
    await converting('remove', removing, () => rename(places.directory(name), removing))
  } finally {
    await lock.release()
  }
  await syncDirectory(places.volumes)
  context.emit('volume.remove', aboutVolume(record))
  await converting('remove', removing, () => helper.request('tree.remove', { paths: [removing] }))
}

/** Kept as long as somebody begins to use the volume, or ceases it to be; `undefined` when there is none (any more). */
export async function lockVolume(
  { helper, places }: VolumesContext,
  name: string,
  signal?: AbortSignal,
): Promise<Lock | undefined> {
  try {
    return await acquireLock(helper, places.useLock(name), 'exclusive', { signal })
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined
    if ((helperFailure(cause)?.errno ?? errnoOf(cause)) === 'ENOENT') return undefined
    throw error
  }
}

async function removeByDriver({ drivers }: VolumesContext, record: VolumeRecord): Promise<void> {
  const driver = drivers.get(record.driver)
  if (driver === undefined) throw noDriver(record.driver, drivers.keys())
  await callDriver(driver, record.name, 'remove', () => driver.remove?.(record))
}
