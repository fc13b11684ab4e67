/**
 * Names of containers: a file each, made by link(2), so that a name has one owner however many processes want it, and is never seen
 * half written. A crash may leave a name without its container, which the next who wants it takes over; one in the middle of a rename leaves
 * two, of which the container's record says the right one, and the next engine that opens releases the other.
 */
import { randomInt } from 'node:crypto'
import { link, readFile, rm, stat } from 'node:fs/promises'
import { keelsonError } from '../../errors.ts'
import type { Helper } from '../../runtime/protocol.ts'
import { converting, errnoOf, storageError } from '../../store/errno.ts'
import { acquireLock } from '../../store/lock.ts'
import { ADJECTIVES, NOUNS } from './name-words.ts'
import { decodeClaim, type NameClaim } from './claim.ts'
import { FULL_ID, type ContainerPlaces } from './places.ts'

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$/
const ATTEMPTS = 64

/**
 * Checks a name as Docker does: letters, digits, `_`, `.`, `-`, two at least.
 *
 * @throws `KEELSON_INVALID_OPTION`
 */
export function checkName(name: unknown): string {
  // Docker's API writes them with a slash in front.
  const bare = typeof name === 'string' && name.startsWith('/') ? name.slice(1) : name
  if (typeof bare === 'string' && NAME.test(bare) && !FULL_ID.test(bare)) return bare
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    `The option name is not a container's name: ${JSON.stringify(name) ?? String(name)}.`,
    {
      option: 'name',
      hint: 'Use 2 to 128 letters, digits, "_", "." and "-", a letter or digit first, and not what looks like an id.',
    },
  )
}

/** `brisk_heron`; after some attempts with a number, so that there is always a free one. */
export function generateName(attempt: number): string {
  const words = `${pick(ADJECTIVES)}_${pick(NOUNS)}`
  return attempt < ATTEMPTS / 2 ? words : `${words}${randomInt(1000)}`
}

/**
 * Claims `wanted`, or a generated name.
 *
 * @param claim path of a file that holds the {@link NameClaim}
 * @param locked the caller holds the lock of names
 * @throws `KEELSON_NAME_IN_USE` with the `container` that has it
 */
export async function claimName(
  helper: Helper,
  places: ContainerPlaces,
  claim: string,
  wanted: string | undefined,
  { locked = false }: { locked?: boolean } = {},
): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    const name = wanted ?? generateName(attempt)
    const owner = await take(places, claim, name, () =>
      locked ? dropStale(places, name) : lockAndDrop(helper, places, name),
    )
    if (owner === undefined) return name
    if (wanted !== undefined || attempt === ATTEMPTS) {
      throw keelsonError('KEELSON_NAME_IN_USE', `The name ${name} is in use by a container.`, {
        containerName: name,
        container: owner,
        hint: 'Remove or rename that container, or choose another name.',
      })
    }
  }
}

/** The id of the container that has this name. */
export async function readName(places: ContainerPlaces, name: string): Promise<string | undefined> {
  return NAME.test(name) ? (await readClaim(places.name(name)))?.id : undefined
}

/** Gives a name back, if it still is that container's. */
export async function releaseName(
  places: ContainerPlaces,
  name: string,
  id: string,
): Promise<void> {
  const path = places.name(name)
  // Only its owner, or who repairs after its death, releases a name: between the look and the removal nobody else can have it.
  if ((await readClaim(path))?.id !== id) return
  await remove(path)
}

/** Gives back the name of a container that something else has removed: by now it may be another's. */
export async function releaseStale(
  helper: Helper,
  places: ContainerPlaces,
  { name, id }: { name: string; id: string },
): Promise<void> {
  await using _ = await acquireLock(helper, places.namesLock, 'exclusive')
  await releaseName(places, name, id)
}

/** Whose the name is; `undefined`: ours now. */
async function take(
  places: ContainerPlaces,
  claim: string,
  name: string,
  drop: () => Promise<string | undefined>,
): Promise<string | undefined> {
  for (;;) {
    try {
      await link(claim, places.name(name))
      return undefined
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw storageError(error, 'create', places.name(name))
    }
    const owner = await drop()
    if (owner !== undefined) return owner
  }
}

/** {@link dropStale}, by who does not hold the lock yet: most names are not stale, which can be seen without. */
async function lockAndDrop(
  helper: Helper,
  places: ContainerPlaces,
  name: string,
): Promise<string | undefined> {
  const owner = await ownerOf(places, name)
  if (owner !== undefined) return owner
  // Two who find the same name stale must not remove each other's.
  await using _ = await acquireLock(helper, places.namesLock, 'exclusive')
  return await dropStale(places, name)
}

/**
 * Removes a name whose container is gone; the caller holds the lock of names.
 *
 * @returns the id of the container that has it, when there is one
 */
export async function dropStale(
  places: ContainerPlaces,
  name: string,
): Promise<string | undefined> {
  const owner = await ownerOf(places, name)
  if (owner === undefined) await remove(places.name(name))
  return owner
}

/** The id of the container that has the name, though it may have another beside it. */
export async function ownerOf(places: ContainerPlaces, name: string): Promise<string | undefined> {
  const claim = await readClaim(places.name(name))
  return claim !== undefined && (await exists(places, claim.id)) ? claim.id : undefined
}

async function remove(path: string): Promise<void> {
  await converting('remove', path, () => rm(path, { force: true }))
}

/** In this order: what is being created becomes the other in between. */
async function exists(places: ContainerPlaces, id: string): Promise<boolean> {
  for (const path of [places.creating(id), places.directory(id)]) {
    const found = await stat(path).catch(() => undefined)
    if (found !== undefined) return true
  }
  return false
}

async function readClaim(path: string): Promise<NameClaim | undefined> {
  return decodeClaim(await readFile(path, 'utf8').catch(() => ''))
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? ''
}
