import { randomBytes } from 'node:crypto'
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { keelsonError } from '../errors.ts'
import { makePrivateDirectory, makeRootDirectory } from '../store/directories.ts'
import { converting, errnoOf, storageError } from '../store/errno.ts'
import { acquireLock } from '../store/lock.ts'
import { syncDirectory } from '../store/records.ts'
import type { VolumesContext } from './context.ts'
import { callDriver, noDriver } from './driver.ts'
import { VOLUME_DATA, VOLUME_RECORD, VOLUME_USERS } from './places.ts'
import { aboutVolume, loadVolume, saveVolume, type VolumeRecord } from './record.ts'

/**
 * Makes a volume, which is there for others from one rename on.
 *
 * @param fill makes its directory of data, at that path
 * @throws `KEELSON_NAME_IN_USE`, `KEELSON_VOLUME_DRIVER`
 */
export async function makeVolume(
  context: VolumesContext,
  record: VolumeRecord,
  fill: (data: string) => Promise<unknown> = makeRootDirectory,
): Promise<void> {
  const { helper, places, drivers } = context
  const { name } = record
  const driver = drivers.get(record.driver)
  if (record.driver !== 'local' && driver === undefined) {
    throw noDriver(record.driver, drivers.keys())
  }
  await makePrivateDirectory(places.volumes)
  await using _ = await acquireLock(helper, places.lock, 'shared')
  if ((await loadVolume(places, name)) !== undefined) throw inUse(name)
  const creating = places.creating(name, randomBytes(6).toString('hex'))
  const undo: (() => Promise<unknown>)[] = []
  try {
    await converting('create', creating, () => mkdir(creating, { mode: 0o700 }))
    undo.push(() => helper.request('tree.remove', { paths: [creating] }))
    await makePrivateDirectory(join(creating, VOLUME_USERS))
    await fill(join(creating, VOLUME_DATA))
    if (driver !== undefined) {
      await callDriver(driver, name, 'create', () => driver.create?.(record))
      undo.push(async () => driver.remove?.(record))
    }
    await saveVolume(join(creating, VOLUME_RECORD), record)
    await place(creating, places.directory(name), name)
  } catch (error) {
    for (const step of undo.toReversed()) await step()
    throw error
  }
  await syncDirectory(places.volumes)
  context.emit('volume.create', aboutVolume(record))
}

/** Never empty, so the rename replaces nothing that somebody else has made meanwhile. */
async function place(from: string, to: string, name: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOTEMPTY' || errno === 'EEXIST') throw inUse(name)
    throw storageError(error, 'create', to)
  }
}

function inUse(name: string) {
  return keelsonError('KEELSON_NAME_IN_USE', `There is a volume ${name} already.`, {
    volume: name,
    hint: 'engine.volumes.get() finds it.',
  })
}
