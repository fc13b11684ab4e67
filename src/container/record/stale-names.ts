import { readdir, rm } from 'node:fs/promises'
import type { Helper } from '../../runtime/protocol.ts'
import { converting } from '../../store/errno.ts'
import { acquireLock } from '../../store/lock.ts'
import { dropStale, ownerOf } from './names.ts'
import type { ContainerPlaces } from './places.ts'
import { loadRecord } from './record.ts'

/** A name that a container had beside its own. */
export interface StaleName {
  container: string
  name: string
}

/** Removes the names that crashes have left. @returns those whose containers are there, by another name */
export async function sweepNames(helper: Helper, places: ContainerPlaces): Promise<StaleName[]> {
  const stale: StaleName[] = []
  for (const name of await converting('read', places.names, () => readdir(places.names))) {
    if ((await ownName(places, name)) === name) continue
    // Whoever renames has two names for a moment; he holds this.
    await using _ = await acquireLock(helper, places.namesLock, 'exclusive')
    const container = await dropStale(places, name)
    if (container === undefined || (await ownName(places, name)) === name) continue
    const path = places.name(name)
    await converting('remove', path, () => rm(path, { force: true }))
    stale.push({ container, name })
  }
  return stale
}

/** What the container that has the name is called by its record; `undefined` when there is no such container. */
async function ownName(places: ContainerPlaces, name: string): Promise<string | undefined> {
  const owner = await ownerOf(places, name)
  if (owner === undefined) return undefined
  // One that is being created has no record in its place yet; what cannot be read may well be called so.
  const record = await loadRecord(places.record(owner)).catch(() => undefined)
  return record?.name ?? name
}
