/** What a monitor that was killed has left of its container's run. */
import { existsSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { releaseClaims } from '../../network/claims.ts'
import type { MonitorState } from '../../runtime/monitor-protocol.ts'
import { converting, errnoOf } from '../../store/errno.ts'
import { tryLock } from '../../store/lock.ts'
import { writeRecord } from '../../store/records.ts'
import type { ContainersContext } from '../containers-context.ts'
import { CGROUPS, MONITOR_LOCK } from '../record/places.ts'
import { loadRecord, type ContainerRecord } from '../record/record.ts'
import { crashedState, readState } from './monitor-state.ts'
import { isActive } from './state.ts'

/**
 * Puts right what a monitor that was killed could not: kills what still runs, and writes down that it has ended.
 *
 * @returns the state now, or `busy` when the monitor lives
 */
export async function repairCrash(
  context: ContainersContext,
  record: ContainerRecord,
): Promise<MonitorState | undefined | 'busy'> {
  const path = context.places.state(record.id)
  // Whoever holds it keeps monitors away.
  const lock = await tryMonitorLock(context.run.launcher, record)
  if (lock === 'busy') return 'busy'
  await using _ = lock
  await takeDown(context, record)
  // Another process has removed it since.
  if ((await loadRecord(context.places.record(record.id))) === undefined) return undefined
  const last = await readState(path)
  if (last === undefined || !isActive(last.status)) return last
  const state = crashedState(last, new Date())
  await writeRecord(path, JSON.stringify(state), { durable: record.options.detached })
  return state
}

/** Whether the last run may have left something on the host that no monitor has taken down. */
export function leftSomething(record: ContainerRecord): boolean {
  return existsSync(join(record.run, CGROUPS))
}

/** Takes down what the last run has left on the host, of a container whose monitor is kept out. */
export async function takeDown({ run }: ContainersContext, record: ContainerRecord): Promise<void> {
  if (!leftSomething(record)) return
  const { launcher, networking } = run
  const cgroups = await readCgroups(record)
  if (cgroups.length > 0) await launcher.request('cgroup.remove', { paths: cgroups })
  await releaseClaims({ helper: launcher, places: networking.places }, record.id)
  const marker = join(record.run, CGROUPS)
  await converting('remove', marker, () => rm(marker, { force: true }))
}

/** Excludes every monitor of a container; `undefined` when there is no directory in which one could be. */
export async function tryMonitorLock(
  helper: ContainersContext['run']['launcher'],
  record: ContainerRecord,
): Promise<AsyncDisposable | 'busy' | undefined> {
  try {
    return (await tryLock(helper, join(record.run, MONITOR_LOCK), 'exclusive')) ?? 'busy'
  } catch (error) {
    if ((error as { errno?: string }).errno === 'ENOENT') return undefined
    throw error
  }
}

/** The cgroup directories of a container that runs, or did. */
async function readCgroups(record: ContainerRecord): Promise<string[]> {
  try {
    const text = await readFile(join(record.run, CGROUPS), 'utf8')
    const paths: unknown = JSON.parse(text)
    return Array.isArray(paths) ? paths.filter((path) => typeof path === 'string') : []
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return []
    throw error
  }
}
