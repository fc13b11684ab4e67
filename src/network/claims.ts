import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { FirewallCommand } from '../runtime/network-protocol.ts'
import type { Helper } from '../runtime/protocol.ts'
import { tryLock } from '../store/lock.ts'
import { claimedAddresses, type AddressClaim } from './addresses/ipam.ts'
import { attachedLock, readAttached } from './endpoint/attached.ts'
import { releaseNames } from './names/name-files.ts'
import type { NetworkPlaces } from './places.ts'

/** What giving back takes. */
export interface ClaimsContext {
  helper: Helper
  places: NetworkPlaces
}

/** Gives back what a container has on any network: addresses and names. */
export async function releaseClaims(
  { helper, places }: ClaimsContext,
  container: string,
): Promise<void> {
  for (const network of await directories(places.runs)) {
    const claims = await claimedAddresses(places.addresses(network))
    await forget(
      { helper, places },
      network,
      claims.filter((claim) => claim.container === container),
    )
  }
}

/** Gives back what something other than a container has on one network. */
export async function releaseMember(
  context: ClaimsContext,
  network: string,
  member: string,
): Promise<void> {
  const claims = await claimedAddresses(context.places.addresses(network))
  await forget(
    context,
    network,
    claims.filter(({ container }) => container === member),
  )
}

/**
 * Gives back what containers had that are no more: of each claim, `owner` is a directory that is there as long as somebody may start or
 * run the container.
 */
export async function sweepClaims({ helper, places }: ClaimsContext): Promise<void> {
  for (const network of await directories(places.runs)) {
    await sweepNetworkClaims({ helper, places }, network)
    const claims = await claimedAddresses(places.addresses(network))
    const unsettled = claims.filter((claim) => !isAttached(network, claim))
    for (const claim of unsettled) await forgetUnsettled({ helper, places }, network, claim)
  }
}

/** Of one that was connected by a program that was killed before it was done. */
async function forgetUnsettled(
  context: ClaimsContext,
  network: string,
  claim: AddressClaim,
): Promise<void> {
  const lock = await tryLock(context.helper, attachedLock(claim.owner), 'exclusive')
  if (lock === undefined) return
  await using _ = lock
  if (!isAttached(network, claim)) await forget(context, network, [claim])
}

/** Whether the container knows of it. One that keeps no list is being started, or is a run. */
function isAttached(network: string, { owner }: AddressClaim): boolean {
  const attached = readAttached(owner)
  return attached === undefined || attached.endpoints.some((each) => each.network === network)
}

/** Gives back what containers have on a network that are no more. */
export async function sweepNetworkClaims(
  { helper, places }: ClaimsContext,
  network: string,
): Promise<void> {
  const claims = await claimedAddresses(places.addresses(network))
  const there = await Promise.all(claims.map(({ owner }) => exists(owner)))
  await forget(
    { helper, places },
    network,
    claims.filter((_, n) => there[n] === false),
  )
}

async function forget(
  { helper, places }: ClaimsContext,
  network: string,
  claims: readonly { container: string; file: string }[],
): Promise<void> {
  if (claims.length === 0) return
  const containers = new Set(claims.map(({ container }) => container))
  for (const container of containers) {
    await undoPorts(helper, places.undo(network), container)
    // The names first: as long as it has an address, it is known that there is something to give back.
    releaseNames(places, network, container)
  }
  await Promise.all(claims.map(({ file }) => rm(file, { force: true })))
}

/** Its ports were forwarded to an address that may be another's next. */
async function undoPorts(helper: Helper, directory: string, container: string): Promise<void> {
  const file = join(directory, container)
  // A change that was not made.
  await rm(`${file}.new`, { force: true })
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined) return
  await helper.request('network.apply', { links: [], firewall: parseCommands(text) })
  await rm(file, { force: true })
}

/** Half of a file that a crash left means that nothing of it was done. */
function parseCommands(text: string): FirewallCommand[] {
  try {
    return JSON.parse(text) as FirewallCommand[]
  } catch {
    return []
  }
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
