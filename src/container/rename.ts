import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { syncDirectory } from '../store/records.ts'
import type { ContainerCore } from './core.ts'
import { checkName, claimName, releaseName } from './names.ts'
import { CLAIM } from './places.ts'
import { aboutContainer } from './plan.ts'
import { saveRecord } from './record.ts'

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
  writeFileSync(claim, JSON.stringify({ id, engine: run.directory }), { mode: 0o600 })
  await claimName(run.launcher, places, claim, name)
  try {
    await saveRecord(places.record(id), { ...record, name })
  } catch (error) {
    rmSync(places.name(name), { force: true })
    throw error
  }
  core.record = { ...record, name }
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
