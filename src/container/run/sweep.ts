import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CgroupBase } from '../../runtime/cgroup.ts'
import type { Helper } from '../../runtime/protocol.ts'
import { acquireLock, tryLock, type Lock } from '../../store/lock.ts'

/** The directory of one engine's containers, held by a lock for as long as the engine lives. */
export interface EngineDirectory extends AsyncDisposable {
  path: string
}

const LOCK = 'lock'
const CGROUPS = 'cgroups.json'

/**
 * Makes the directory in which this engine's containers keep what they need while they run, and removes those of engines that are dead,
 * with the processes and cgroups that they left. Any number of engines may open at once.
 *
 * What would have to be undone is on disk before it is done: the cgroup directories when the engine opens, a container's name when it starts.
 */
export async function openEngineDirectory(
  helper: Helper,
  runRoot: string,
  options: { engine: string; cgroups: CgroupBase },
): Promise<EngineDirectory> {
  const engines = join(runRoot, 'engines')
  await mkdir(engines, { recursive: true, mode: 0o700 })
  const path = join(engines, options.engine)
  let own: Lock
  {
    // Between the making of a directory and its lock nobody may take it for a dead engine's.
    await using _ = await acquireLock(helper, join(runRoot, 'engines.lock'), 'exclusive')
    await sweepDead(helper, engines)
    await mkdir(path, { mode: 0o700 })
    own = await acquireLock(helper, join(path, LOCK), 'exclusive')
    const { v2, v1 } = options.cgroups
    await writeFile(
      join(path, CGROUPS),
      JSON.stringify([v2?.directory, ...Object.values(v1)].filter(Boolean)),
    )
  }
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true })
      await own.release()
    },
  }
}

async function sweepDead(helper: Helper, engines: string): Promise<void> {
  for (const engine of await readdir(engines)) {
    const path = join(engines, engine)
    const lock = await tryLock(helper, join(path, LOCK), 'exclusive')
    if (lock === undefined) continue
    await using _ = lock
    const bases = await cgroupBases(path)
    const containers = (await readdir(path)).filter((name) => /^[0-9a-f]{64}$/.test(name))
    const cgroups = containers.flatMap((id) => bases.map((base) => join(base, id)))
    if (cgroups.length > 0) await helper.request('cgroup.remove', { paths: cgroups })
    await helper.request('tree.remove', { paths: [path] })
  }
}

/** Empty when the engine died before it could have started anything. */
async function cgroupBases(path: string): Promise<string[]> {
  const text = await readFile(join(path, CGROUPS), 'utf8').catch(() => '[]')
  try {
    const bases: unknown = JSON.parse(text)
    return Array.isArray(bases) ? bases.filter((each) => typeof each === 'string') : []
  } catch {
    return []
  }
}
