/**
 * Who has which range of ids: a file each, made by link(2) as names are, so that a range has one owner however many processes want one. What a
 * crash leaves is given back by the next engine that opens.
 */
import { link, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { keelsonError } from '../../errors.ts'
import type { Helper } from '../../runtime/protocol.ts'
import { converting, errnoOf, storageError } from '../../store/errno.ts'
import { acquireLock } from '../../store/lock.ts'
import { decodeClaim, type NameClaim } from '../record/claim.ts'
import type { ContainerPlaces } from '../record/places.ts'
import { idRanges, mappingsOf, type RangeStart } from './id-ranges.ts'
import type { UserMappings } from './options.ts'

/** A range that belongs to a container until it is given back. */
export interface ClaimedIds {
  /** The claim's file. */
  path: string
  mappings: UserMappings
}

/** Claims a free range for a container. @throws `KEELSON_IDS_EXHAUSTED` */
export async function claimIds(places: ContainerPlaces, claim: NameClaim): Promise<ClaimedIds> {
  const [subuid, subgid] = await Promise.all([textOf('/etc/subuid'), textOf('/etc/subgid')])
  const taken = new Set(await converting('read', places.ids, () => readdir(places.ids)))
  const file = join(places.ids, `.${basename(claim.engine)}.${claim.id}`)
  await converting('create', file, () => writeFile(file, JSON.stringify(claim), { mode: 0o600 }))
  try {
    for (const start of idRanges(subuid, subgid)) {
      const name = nameOf(start)
      const path = join(places.ids, name)
      if (!taken.has(name) && (await take(file, path))) return { path, mappings: mappingsOf(start) }
    }
  } finally {
    await rm(file, { force: true })
  }
  throw keelsonError(
    'KEELSON_IDS_EXHAUSTED',
    `All ${taken.size} ranges of ids are in use by containers.`,
    {
      hint: 'Remove containers, or give the user "keelson" more ids in /etc/subuid and /etc/subgid.',
    },
  )
}

/** Gives a range back, if it still is that container's. */
export async function releaseIds(path: string, id: string): Promise<void> {
  if ((await readClaim(path))?.id !== id) return
  await converting('remove', path, () => rm(path, { force: true }))
}

/** Before it is a range's: as it may not have been written to its end, its name says whose it is. */
const UNCLAIMED = /^\.([0-9a-f]{16})\.[0-9a-f]{64}$/

/** Whose claims stay. */
export interface ClaimOwners {
  /** Whether that container is there. */
  isThere(id: string): Promise<boolean>
  /** Whether the engine of that directory lives. All engines of a root have theirs side by side. */
  lives(engine: string): Promise<boolean>
  /** The directory that holds those of engines. */
  engines: string
}

/** Gives back what crashes have left. */
export async function sweepIds(
  helper: Helper,
  places: ContainerPlaces,
  owners: ClaimOwners,
): Promise<void> {
  const names = await converting('read', places.ids, () => readdir(places.ids))
  if (names.length === 0) return
  // Two who find the same range abandoned must not take it from who has it next.
  await using _ = await acquireLock(helper, places.namesLock, 'exclusive')
  for (const name of names) {
    const path = join(places.ids, name)
    const [, engine] = UNCLAIMED.exec(name) ?? []
    if (engine !== undefined) {
      if (!(await owners.lives(join(owners.engines, engine)))) await rm(path, { force: true })
      continue
    }
    const claim = await readClaim(path)
    if (claim === undefined) continue
    if ((await owners.isThere(claim.id)) || (await owners.lives(claim.engine))) continue
    // Its owner gives it back before the owner is gone: whoever has it now is another.
    if ((await readClaim(path))?.id === claim.id) await rm(path, { force: true })
  }
}

async function take(file: string, path: string): Promise<boolean> {
  try {
    await link(file, path)
    return true
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false
    throw storageError(error, 'create', path)
  }
}

function nameOf({ uid, gid }: RangeStart): string {
  return uid === gid ? `${uid}` : `${uid}-${gid}`
}

async function readClaim(path: string): Promise<NameClaim | undefined> {
  return decodeClaim(await textOf(path))
}

async function textOf(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '')
}
