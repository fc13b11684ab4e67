import { rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { renameEndpoint } from '../../network/names/name-files.ts'
import { errnoOf, storageError } from '../../store/errno.ts'
import { syncDirectory } from '../../store/records.ts'
import { hostnameOf } from '../namespaces/hostname.ts'
import type { ContainerCore } from '../core.ts'
import { checkName, claimName, releaseName } from '../record/names.ts'
import { CLAIM } from '../record/places.ts'
import { aboutContainer } from './plan.ts'

/**
 * The new name is claimed, written down, and only then the old one is free: a crash in between leaves a name more, which points to the
 * container and is released by the next engine.
 */
export async function renameContainer(core: ContainerCore, wanted: string): Promise<void> {
  const name = checkName(wanted)
  await core.mustAllow('rename')
  const { context, id } = core
  const { places, run, journal } = context
  const record = await core.refresh()
  if (record.name === name) return
  const old = record.name
  const claim = join(places.directory(id), CLAIM)
  try {
    writeFileSync(claim, JSON.stringify({ id, engine: run.directory }), { mode: 0o600 })
  } catch (error) {
    throw errnoOf(error) === 'ENOENT' ? core.gone() : storageError(error, 'write', claim)
  }
  await claimName(run.launcher, places, claim, name)
  try {
    await core.save({ ...record, name })
  } catch (error) {
    rmSync(places.name(name), { force: true })
    throw error
  }
  await renameOnNetworks(core, old)
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

/** One that runs is found by its new name at once. */
async function renameOnNetworks({ context, record }: ContainerCore, old: string): Promise<void> {
  const { id, name, options } = record
  if (!Array.isArray(options.network)) return
  const { networks, places } = context.run.networking
  for (const { network, aliases } of options.network) {
    const keepsOld = [hostnameOf(id, options, hostname()), ...aliases].includes(old)
    renameEndpoint(places, (await networks.get(network)).id, id, [old, name], keepsOld)
  }
}
