import { acquireLock } from '../../store/lock.ts'
import { converting, errnoOf } from '../../store/errno.ts'
import { syncDirectory } from '../../store/records.ts'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { helperFailure } from '../../runtime/connection.ts'
import type { ContainerCore } from '../core.ts'
import { takeDown } from './crash.ts'
import type { ContainersContext } from '../containers-context.ts'
import { releaseName } from '../record/names.ts'
import { releaseIds } from '../namespaces/id-claims.ts'
import { MONITOR_LOCK, RECORD } from '../record/places.ts'
import { aboutContainer } from './plan.ts'
import { moveDirectory, saveRecord, type ContainerRecord } from '../record/record.ts'
import { isActive, mustAllow } from './state.ts'
import { keepVolumes, releaseVolumes } from '../config/volumes.ts'

/**
 * Removes a container: from here on its name is free and nobody finds it. What it had goes in the background; the engine waits for that
 * when it closes. One that is removed already is no error.
 */
export async function removeContainer(
  core: ContainerCore,
  { force, volumes }: { force: boolean; volumes: boolean },
): Promise<void> {
  const { context } = core
  for (;;) {
    const status = await core.status()
    if (status === 'removing') return
    if (status === 'dead') {
      await finishRemoval(context, core.record, context.places.dead(core.id))
      core.removed()
      return
    }
    mustAllow(core.record, status, force ? 'remove by force' : 'remove')
    if (isActive(status)) await killNow(core)
    else await core.dismiss()
    core.close()
    const lock = await monitorLock(context, core.record)
    await using _ = lock
    // Between the look and the lock another process may have started it.
    const now = await core.status()
    if (isActive(now)) continue
    await takeDown(context, core.record)
    await withdraw(context, core.record, { volumes })
    core.removed()
    return
  }
}

/**
 * Takes a container away whose monitor is kept out, and has what it had removed.
 *
 * @param volumes its anonymous volumes go with it
 */
export async function withdraw(
  context: ContainersContext,
  record: ContainerRecord,
  { volumes }: { volumes: boolean },
): Promise<void> {
  const { places, journal } = context
  const { id, options } = record
  // On the disk before the container is gone: whoever finishes this after a crash knows it, too.
  await keepVolumes(context.run, options.mounts, !volumes && !options.autoRemove)
  const moved = await converting('remove', places.directory(id), () =>
    moveDirectory(places.directory(id), places.removing(id)),
  )
  // Somebody else was quicker.
  if (!moved) return
  await releaseName(places, record.name, id)
  if (record.ids !== undefined) await releaseIds(record.ids.path, id)
  if (record.options.detached) await syncDirectory(places.records)
  journal.append({
    time: new Date().toISOString(),
    type: 'container.remove',
    container: id,
    ...aboutContainer(record),
  })
  const { removing } = context.run
  // In the background; the engine waits for it when it closes.
  const finished = finishRemoval(context, record)
    .catch((error: unknown) =>
      context.run.warn('container-left-behind', `Container ${id}: ${String(error)}`),
    )
    .finally(() => removing.delete(finished))
  removing.add(finished)
}

/**
 * Everything of a container that was withdrawn; its record last, so that the next engine can finish it. When that fails the container is
 * dead: whoever looks finds it, and can try again.
 *
 * @param directory where its record is now
 */
export async function finishRemoval(
  { removals, places, run }: ContainersContext,
  record: ContainerRecord,
  directory = places.removing(record.id),
): Promise<void> {
  const paths = [...record.rootfs.remove, record.run, directory]
  try {
    await releaseVolumes(run, record.id, record.options.mounts)
    // Removed together with those of others, whose failure it may be.
    await removals
      .remove(paths)
      .catch(() =>
        converting('remove', paths[0] ?? directory, () =>
          run.launcher.request('tree.remove', { paths }),
        ),
      )
  } catch (error) {
    await keepDead(record, directory, places.dead(record.id))
    throw error
  }
}

/** Whatever of its directory is gone already: by its record it is found again. */
async function keepDead(record: ContainerRecord, directory: string, dead: string): Promise<void> {
  await converting('create', dead, async () => {
    if (directory !== dead) await moveDirectory(directory, dead)
    await mkdir(dead, { recursive: true, mode: 0o700 })
    await saveRecord(join(dead, RECORD), record)
  })
}

async function killNow(core: ContainerCore): Promise<void> {
  try {
    const client = await core.monitor('remove by force')
    await client.request('kill', { stop: true })
  } catch (error) {
    // It has ended by itself meanwhile: then the lock is free, or will be.
    if (helperFailure(error) !== undefined || isActive(await core.status())) throw error
  }
}

/** Waits until its monitor has ended. */
async function monitorLock(
  { run }: ContainersContext,
  record: ContainerRecord,
): Promise<AsyncDisposable | undefined> {
  try {
    return await acquireLock(run.launcher, join(record.run, MONITOR_LOCK), 'exclusive')
  } catch (error) {
    // Never started, or not since the host was: no directory, no monitor.
    if (errnoOf(error) === 'ENOENT' || (error as { errno?: string }).errno === 'ENOENT') {
      return undefined
    }
    throw error
  }
}
