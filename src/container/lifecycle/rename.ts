import { rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { loadNetworks } from '../../network/record.ts'
import { renameEndpoint } from '../../network/names/name-files.ts'
import { storageError } from '../../store/errno.ts'
import { acquireLock } from '../../store/lock.ts'
import { syncDirectory } from '../../store/records.ts'
import { hostnameOf } from '../namespaces/hostname.ts'
import type { ContainersContext } from '../containers-context.ts'
import type { ContainerCore } from '../core.ts'
import { checkName, claimName, releaseName } from '../record/names.ts'
import type { StaleName } from '../record/stale-names.ts'
import { loadRecord, type ContainerRecord } from '../record/record.ts'
import { aboutContainer } from './plan.ts'

/**
 * The new name is claimed, written down, and only then the old one is free. A crash in between leaves a name more than the record says,
 * which the next engine takes away ({@link finishRename}).
 */
export async function renameContainer(core: ContainerCore, wanted: string): Promise<void> {
  const name = checkName(wanted)
  await core.mustAllow('rename')
  const { context, id } = core
  const { places, run, journal } = context
  // Whoever finds two names of one container under this lock knows that one of them is stale.
  await using _ = await acquireLock(run.launcher, places.namesLock, 'exclusive')
  const record = await core.refresh()
  if (record.name === name) return
  const old = record.name
  const claim = places.claiming(id)
  try {
    writeFileSync(claim, JSON.stringify({ id, engine: run.directory }), { mode: 0o600 })
    await claimName(run.launcher, places, claim, name, { locked: true })
  } catch (error) {
    throw storageError(error, 'write', claim)
  } finally {
    rmSync(claim, { force: true })
  }
  try {
    await core.save({ ...record, name })
  } catch (error) {
    // It may have been written all the same.
    const kept = (await core.refresh()).name
    await releaseName(places, kept === name ? old : name, id)
    throw error
  }
  await renameOnNetworks(context, core.record, old)
  await releaseName(places, old, id)
  if (record.options.detached) await syncDirectory(places.names)
  journal.append({
    time: new Date().toISOString(),
    type: 'container.rename',
    container: id,
    ...aboutContainer(core.record),
    oldName: old,
  })
}

/** Of a rename in whose middle somebody was killed: `stale` was to be the container's name, or to be it no more. */
export async function finishRename(context: ContainersContext, stale: StaleName): Promise<void> {
  const record = await loadRecord(context.places.record(stale.container))
  if (record !== undefined) await renameOnNetworks(context, record, stale.name)
}

/** One that runs is found by its new name at once. */
async function renameOnNetworks(
  context: ContainersContext,
  { id, name, options }: ContainerRecord,
  old: string,
): Promise<void> {
  if (!Array.isArray(options.network)) return
  const { places } = context.run.networking
  // One that has ended may have a network no more.
  const networks = await loadNetworks(places)
  for (const { network: wanted, aliases } of options.network) {
    const network = networks.find((each) => each.name === wanted || each.id.startsWith(wanted))
    const keepsOld = [hostnameOf(id, options, hostname()), ...aliases].includes(old)
    if (network !== undefined) renameEndpoint(places, network.id, id, [old, name], keepsOld)
  }
}
