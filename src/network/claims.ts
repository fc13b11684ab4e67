import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { claimedAddresses } from './ipam.ts'
import type { NetworkPlaces } from './places.ts'

/** Gives back what a container has on any network: addresses and names. */
export async function releaseClaims(places: NetworkPlaces, container: string): Promise<void> {
  for (const network of await directories(places.runs)) {
    const claims = await claimedAddresses(places.addresses(network))
    await forget(
      places,
      network,
      claims.filter((claim) => claim.container === container),
    )
  }
}

/**
 * Gives back what containers had that are no more: of each claim, `owner` is a directory that is there as long as somebody may start or
 * run the container.
 */
export async function sweepClaims(places: NetworkPlaces): Promise<void> {
  for (const network of await directories(places.runs)) {
    const claims = await claimedAddresses(places.addresses(network))
    const there = await Promise.all(claims.map(({ owner }) => exists(owner)))
    await forget(
      places,
      network,
      claims.filter((_, n) => there[n] === false),
    )
  }
}

async function forget(
  places: NetworkPlaces,
  network: string,
  claims: readonly { container: string; file: string }[],
): Promise<void> {
  if (claims.length === 0) return
  const names = await directories(places.names(network))
  const containers = new Set(claims.map(({ container }) => container))
  const files = [...containers].flatMap((container) =>
    names.map((name) => join(places.names(network), name, container)),
  )
  // The names first: as long as it has an address, it is known that there is something to give back.
  await Promise.all(files.map((file) => rm(file, { force: true })))
  await Promise.all(claims.map(({ file }) => rm(file, { force: true })))
}

async function directories(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
