/** What an engine does when it opens: finishes or undoes what programs that were killed have left of containers. */
import { mkdir, readFile, readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { converting } from '../../store/errno.ts'
import { tryLock } from '../../store/lock.ts'
import type { ContainersContext } from '../containers-context.ts'
import { leftSomething, repairCrash, takeDown, tryMonitorLock } from './crash.ts'
import { readState } from './monitor-state.ts'
import { decodeClaim } from '../record/claim.ts'
import { sweepNames } from '../record/stale-names.ts'
import { sweepIds } from '../namespaces/id-claims.ts'
import { CLAIM, FULL_ID, RECORD, type ContainerPlaces } from '../record/places.ts'
import { finishRemoval, withdraw } from './remove.ts'
import { finishRename } from './rename.ts'
import { loadRecord, type ContainerRecord } from '../record/record.ts'
import { isActive } from './state.ts'

/**
 * Repairs the containers of a root. Those of living engines are left alone.
 *
 * @returns the ids of detached containers that are to be started again, as their restart policies want it
 */
export async function repairContainers(context: ContainersContext): Promise<string[]> {
  const { places, run } = context
  for (const path of [places.records, places.names, places.ids, places.runs]) {
    await converting('create', path, () => mkdir(path, { recursive: true, mode: 0o700 }))
  }
  // Before the records: a layer that is there without one after that belongs to nobody.
  const layers = await run.snapshotter.durable()
  // Made again by a start that lost the race against a removal.
  const runs = (await converting('read', places.runs, () => readdir(places.runs))).map((id) => {
    return { id, path: places.run(id) }
  })
  const engines = new Engines(context)
  const entries = await converting('read', places.records, () => readdir(places.records))
  const wanted = await Promise.all(
    entries.map(async (entry) => {
      const [, engine = '', id = '', phase = ''] = ENTRY.exec(entry) ?? []
      try {
        if (phase === 'making') await undoMaking(context, engines, { engine, id })
        else if (phase === 'creating') await undoCreation(context, engines, id)
        else if (phase === 'removing') await resumeRemoval(context, id, places.removing(id))
        else if (phase === 'dead') await resumeRemoval(context, id, places.dead(id))
        else if (FULL_ID.test(entry)) return await repairOne(context, engines, entry)
      } catch (error) {
        run.warn('container-repair', `Container ${id || entry}: ${String(error)}`)
      }
      return undefined
    }),
  )
  for (const stale of await sweepNames(run.launcher, places)) await finishRename(context, stale)
  await sweepIds(run.launcher, places, {
    isThere: (id) => isThere(places, id),
    lives: (engine) => engines.lives(engine),
    engines: dirname(run.directory),
  })
  await removeOrphans(context, [...layers, ...runs])
  return wanted.filter((id) => id !== undefined)
}

const ENTRY = /^\.(?:([0-9a-f]{16})\.)?([0-9a-f]{64})\.(making|creating|removing|dead)$/

async function repairOne(
  context: ContainersContext,
  engines: Engines,
  id: string,
): Promise<string | undefined> {
  const { places } = context
  const record = await loadRecord(places.record(id))
  if (record === undefined) {
    // Made whole, it would have one: a monitor has removed that, and was killed.
    await context.removals.remove([places.run(id), places.directory(id)])
    return undefined
  }
  if (!record.options.detached) {
    if (await engines.lives(record.owner.directory)) return undefined
    await removeAbandoned(context, record)
    return undefined
  }
  const before = await readState(places.state(id))
  // Its directory is on tmpfs: without one, the host was started anew.
  const rebooted = before !== undefined && !(await exists(record.run))
  const wasActive = before !== undefined && isActive(before.status)
  if (before !== undefined && record.options.autoRemove) {
    await removeAbandoned(context, record)
    return undefined
  }
  const crashed = wasActive || leftSomething(record)
  if (crashed && (await repairCrash(context, record)) === 'busy') return undefined
  if (!wasActive && !rebooted) return undefined
  return startsAgain(record, { wasActive, stopped: before.stopped }) ? id : undefined
}

/** As Docker does when its daemon starts. */
export function startsAgain(
  { options }: Pick<ContainerRecord, 'options'>,
  last: { wasActive: boolean; stopped: boolean },
): boolean {
  const { policy } = options.restart
  if (policy === 'always') return true
  if (policy === 'unless-stopped') return !last.stopped
  return policy === 'on-failure' && last.wasActive && !last.stopped
}

/** What a monitor removes, unless it was killed. While it lives, it does, or will. */
async function removeAbandoned(context: ContainersContext, record: ContainerRecord): Promise<void> {
  const lock = await tryMonitorLock(context.run.launcher, record)
  if (lock === 'busy') return
  await using _ = lock
  await takeDown(context, record)
  await withdraw(context, record, { volumes: true })
}

async function undoCreation(
  { places, removals }: ContainersContext,
  engines: Engines,
  id: string,
): Promise<void> {
  const directory = places.creating(id)
  const claim = decodeClaim(await readFile(join(directory, CLAIM), 'utf8').catch(() => ''))
  // A power cut may have emptied it.
  if (claim !== undefined && (await engines.lives(claim.engine))) return
  // The name is free with the directory gone; a layer that lasts is an orphan then.
  await removals.remove([places.run(id), directory])
}

async function undoMaking(
  { places, run, removals }: ContainersContext,
  engines: Engines,
  { engine, id }: { engine: string; id: string },
): Promise<void> {
  // All engines of a root have their directories side by side.
  if (await engines.lives(join(dirname(run.directory), engine))) return
  await removals.remove([places.making(engine, id)])
}

async function resumeRemoval(
  context: ContainersContext,
  id: string,
  directory: string,
): Promise<void> {
  const { places, removals } = context
  const record = await loadRecord(join(directory, RECORD))
  if (record === undefined) await removals.remove([places.run(id), directory])
  else await finishRemoval(context, record, directory)
}

async function removeOrphans(
  { places, removals }: ContainersContext,
  parts: readonly { id: string; path: string }[],
): Promise<void> {
  const orphans = await Promise.all(
    parts.map(async ({ id, path }) => ((await isThere(places, id)) ? [] : [path])),
  )
  if (orphans.flat().length > 0) await removals.remove(orphans.flat())
}

/** In the order in which a container passes through them. */
async function isThere(places: ContainerPlaces, id: string): Promise<boolean> {
  for (const place of [
    places.creating(id),
    places.directory(id),
    places.removing(id),
    places.dead(id),
  ]) {
    if (await exists(place)) return true
  }
  return false
}

/** Which engines live: each holds the lock in its directory. */
class Engines {
  readonly #known = new Map<string, Promise<boolean>>()
  readonly #context: ContainersContext

  constructor(context: ContainersContext) {
    this.#context = context
    this.#known.set(context.run.directory, Promise.resolve(true))
  }

  lives(directory: string): Promise<boolean> {
    const known = this.#known.get(directory) ?? this.#look(directory)
    this.#known.set(directory, known)
    return known
  }

  async #look(directory: string): Promise<boolean> {
    if (!(await exists(directory))) return false
    const lock = await tryLock(this.#context.run.launcher, join(directory, 'lock'), 'shared')
    await lock?.release()
    return lock === undefined
  }
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}
