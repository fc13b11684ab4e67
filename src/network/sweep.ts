import { existsSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { acquireLock, tryLock } from '../store/lock.ts'
import { TEMPORARY_SUFFIX } from '../store/records.ts'
import type { ClaimsContext } from './claims.ts'
import { claimedAddresses } from './addresses/ipam.ts'
import { sweepHost, sweepStaleNames } from './names/name-files.ts'
import { removeForsaken } from './resolve/resolvers.ts'
import { loadNetworks } from './record.ts'

const RUN = /^([0-9a-f]{64})(\.lock)?$/

/** Removes what killed programs have left of networks that are no more, and of records that were not written to their end. */
export async function sweepNetworks(context: ClaimsContext): Promise<void> {
  const { helper, places } = context
  // In this order: a network has its record before anything else.
  const runs = await readdir(places.runs).catch(() => [])
  const known = new Set((await loadNetworks(places)).map(({ id }) => id))
  const ids = new Set(runs.flatMap((name) => RUN.exec(name)?.[1] ?? []))
  for (const id of ids) {
    if (!known.has(id)) {
      await sweepRun(context, id)
      continue
    }
    sweepStaleNames(places, id)
    await sweepUnready(context, id)
    // Those that are to fail without their program do so until another takes their place.
    await removeForsaken(places.resolvers(id), 'pass')
  }
  const records = await readdir(places.records).catch(() => [])
  const torn = records.filter((name) => name.endsWith(TEMPORARY_SUFFIX))
  if (torn.length === 0) return
  await using _ = await acquireLock(helper, places.lock, 'exclusive')
  for (const name of torn) await rm(join(places.records, name), { force: true })
}

/** A bridge that was not made to its end: the next who needs it begins anew. */
async function sweepUnready({ helper, places }: ClaimsContext, id: string): Promise<void> {
  if (existsSync(places.ready(id))) return
  const lock = await tryLock(helper, places.bridgeLock(id), 'exclusive')
  if (lock === undefined) return
  await using _ = lock
  sweepHost(places, id)
}

/** Its bridge went before its record. */
async function sweepRun({ helper, places }: ClaimsContext, id: string): Promise<void> {
  const lock = await tryLock(helper, places.bridgeLock(id), 'exclusive')
  if (lock === undefined) return
  await using _ = lock
  // Somebody is about to find out.
  if ((await claimedAddresses(places.addresses(id))).length > 0) return
  await rm(places.run(id), { recursive: true, force: true })
  await rm(places.bridgeLock(id), { force: true })
}
