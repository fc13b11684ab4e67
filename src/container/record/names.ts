/**
 * Names of containers: a file each, made by link(2), so that a name has one owner however many processes want it, and is never seen
 * half written. A crash may leave a name without its container; the next who wants it takes it over.
 */
import { randomInt } from 'node:crypto'
import { link, readdir, readFile, rm, stat } from 'node:fs/promises'
import { keelsonError } from '../../errors.ts'
import type { Helper } from '../../runtime/protocol.ts'
import { converting, errnoOf, storageError } from '../../store/errno.ts'
import { acquireLock } from '../../store/lock.ts'
import { ADJECTIVES, NOUNS } from './name-words.ts'
import type { ContainerPlaces } from './places.ts'

/** Content of a name's file. */
export interface NameClaim {
  id: string
  /** Directory of the engine that made it: its lock says whether that engine lives. */
  engine: string
}

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
 * Claims `wanted`, or a generated name. @param claim path of a file that holds the {@link NameClaim}
 *
 * @throws `KEELSON_NAME_IN_USE` with the `container` that has it
 */
export async function claimName(
  helper: Helper,
  places: ContainerPlaces,
  claim: string,
  wanted: string | undefined,
): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    const name = wanted ?? generateName(attempt)
    const owner = await take(helper, places, claim, name)
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
  await converting('remove', path, () => rm(path, { force: true }))
}

/** Removes the names whose containers a crash took. */
export async function sweepNames(helper: Helper, places: ContainerPlaces): Promise<void> {
  for (const name of await converting('read', places.names, () => readdir(places.names))) {
    await dropStale(helper, places, name)
  }
}

/** Whose the name is; `undefined`: ours now. */
async function take(
  helper: Helper,
  places: ContainerPlaces,
  claim: string,
  name: string,
): Promise<string | undefined> {
  for (;;) {
    try {
      await link(claim, places.name(name))
      return undefined
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw storageError(error, 'create', places.name(name))
    }
    const owner = await dropStale(helper, places, name)
    if (owner !== undefined) return owner
  }
}

/** Removes a name that no container has any more. @returns the id of the container that has it */
async function dropStale(
  helper: Helper,
  places: ContainerPlaces,
  name: string,
): Promise<string | undefined> {
  const path = places.name(name)
  const seen = await readClaim(path)
  if (seen !== undefined && (await exists(places, seen.id))) return seen.id
  // Two who find the same name stale must not remove each other's.
  await using _ = await acquireLock(helper, places.namesLock, 'exclusive')
  const claim = await readClaim(path)
  if (claim !== undefined && (await exists(places, claim.id))) return claim.id
  await converting('remove', path, () => rm(path, { force: true }))
  return undefined
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

/** `undefined` for what no engine wrote whole. */
export function decodeClaim(text: string): NameClaim | undefined {
  try {
    const value = JSON.parse(text) as Partial<NameClaim> | null
    if (typeof value?.id !== 'string' || typeof value.engine !== 'string') return undefined
    return FULL_ID.test(value.id) ? { id: value.id, engine: value.engine } : undefined
  } catch {
    return undefined
  }
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? ''
}

/** A container's id. */
export const FULL_ID = /^[0-9a-f]{64}$/
