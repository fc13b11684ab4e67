/** What an engine does when it opens: finishes or undoes what programs that were killed have left of volumes. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { tryLock } from '../store/lock.ts'
import { TEMPORARY_SUFFIX } from '../store/records.ts'
import { sweepUsers, volumeUsers } from './claims.ts'
import type { VolumesContext } from './context.ts'
import { entriesOf, loadVolume } from './record.ts'
import { removeVolume } from './remove.ts'

/**
 * After the containers have been repaired: those that are gone use nothing any more. But for {@link sweepHalves}, which comes first: then
 * nobody of this engine removes any yet.
 */
export async function repairVolumes(context: VolumesContext): Promise<void> {
  const { places, warn } = context
  const entries = await entriesOf(places.volumes)
  for (const name of entries.filter((entry) => !entry.startsWith('.'))) {
    try {
      await repairOne(context, name)
    } catch (error) {
      warn('volume-repair', `Volume ${name}: ${String(error)}`)
    }
  }
}

async function repairOne(context: VolumesContext, name: string): Promise<void> {
  const record = await loadVolume(context.places, name)
  if (record === undefined) return
  await sweepUsers(context.places, name)
  await sweepTemporaries(context, name)
  if (record.anonymous === undefined || record.anonymous.keep) return
  if ((await volumeUsers(context, name)).length === 0) await removeVolume(context, record)
}

/** What was not written to its end. Who writes holds the volume's lock. */
async function sweepTemporaries({ helper, places }: VolumesContext, name: string): Promise<void> {
  const found = await Promise.all(
    [places.directory(name), places.users(name)].map(async (directory) =>
      (await entriesOf(directory)).map((entry) => join(directory, entry)),
    ),
  )
  const torn = found.flat().filter((path) => path.endsWith(TEMPORARY_SUFFIX))
  if (torn.length === 0) return
  await using lock = await tryLock(helper, places.useLock(name), 'exclusive')
  if (lock === undefined) return
  for (const path of torn) await rm(path, { force: true })
}

/** Whoever makes or removes one holds the lock; then its half is not ours to judge, and the next engine comes by. */
export async function sweepHalves({ helper, places, warn }: VolumesContext): Promise<void> {
  const entries = await entriesOf(places.volumes)
  const halves = entries.filter((entry) => /^\..*\.(?:creating|removing)$/.test(entry))
  if (halves.length === 0) return
  await using lock = await tryLock(helper, places.lock, 'exclusive')
  if (lock === undefined) return
  const paths = halves.map((entry) => join(places.volumes, entry))
  try {
    await helper.request('tree.remove', { paths })
  } catch (error) {
    warn('volume-repair', `Half a volume could not be removed: ${String(error)}`)
  }
}
