/** Makes the place for containers' cgroups, once an engine. The files written are the kernel's, so a write is the deed. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { parseMembership } from './cgroup-hierarchy.ts'
import {
  cgroupDirectories,
  cgroupRemedy,
  cgroupStrategies,
  LEAF,
  type CgroupBase,
  type CgroupStrategy,
} from './cgroup.ts'
import type { HostFacts } from './host.ts'
import { startScope } from './systemd.ts'

export interface CgroupBaseOptions {
  /** Distinguishes the engines of a host: letters, digits, dashes. */
  engine: string
  /** The launcher, which has not forked anything yet. */
  pid: number
  signal?: AbortSignal | undefined
}

export interface OpenedCgroupBase {
  base: CgroupBase
  way: CgroupStrategy['way']
  /** Why a better way could not be taken. */
  failures: { way: CgroupStrategy['way']; error: unknown }[]
}

/**
 * Takes the first way that works. Never fails: without any there are no limits, and asking for one is the error then.
 * Afterwards the launcher stands in a leaf, so that controllers can be handed to its siblings.
 */
export async function openCgroupBase(
  host: HostFacts,
  options: CgroupBaseOptions,
): Promise<OpenedCgroupBase> {
  const failures: OpenedCgroupBase['failures'] = []
  for (const strategy of cgroupStrategies(host)) {
    try {
      const made = await carryOut(strategy, host, options)
      const { swapAccounting } = host.cgroups
      return {
        base: { ...made, swapAccounting, remedy: cgroupRemedy(host) },
        way: strategy.way,
        failures,
      }
    } catch (error) {
      options.signal?.throwIfAborted()
      failures.push({ way: strategy.way, error })
    }
  }
  throw new AggregateError(failures, 'no way is left')
}

type Made = Pick<CgroupBase, 'v1' | 'v2'>

async function carryOut(
  strategy: CgroupStrategy,
  host: HostFacts,
  options: CgroupBaseOptions,
): Promise<Made> {
  if (strategy.way === 'scope') return scope(strategy.manager, host, options)
  if (strategy.way === 'root') return below(host, 'root')
  if (strategy.way === 'own') return below(host, 'own', options.pid)
  return { v1: {} }
}

async function scope(
  manager: 'system' | 'user',
  host: HostFacts,
  { engine, pid, signal }: CgroupBaseOptions,
): Promise<Made> {
  const unit = `keelson-${engine}.scope`
  const runtime = host.directories.runtime
  await startScope({ manager, unit, pid, runtime, signal })
  const membership = parseMembership(await readFile(`/proc/${pid}/cgroup`, 'utf8'))
  const root = host.cgroups.v2?.root ?? '/sys/fs/cgroup'
  const directory = join(root, membership.get('') ?? '/')
  if (!directory.endsWith(`/${unit}`))
    throw new Error(`the launcher is in ${directory}, not in ${unit}`)
  if (manager === 'system') await handDownUnmanaged(root, directory)
  await moveToLeaf(directory, [pid])
  return { v2: { directory, controllers: await enableControllers(directory) }, v1: {} }
}

/** Of the controllers that containers are limited by, systemd manages all but this: it neither hands it down nor takes it back. */
async function handDownUnmanaged(root: string, directory: string): Promise<void> {
  const parents = relative(root, directory).split('/').slice(0, -1)
  for (let depth = 0; depth <= parents.length; depth++) {
    const control = join(root, ...parents.slice(0, depth), 'cgroup.subtree_control')
    await writeFile(control, '+hugetlb').catch(() => {})
  }
}

async function below(host: HostFacts, way: 'root' | 'own', pid?: number): Promise<Made> {
  const { v2, v1 } = cgroupDirectories(host.cgroups, way)
  // v1 directories are the helper's to make: with each container, as needed.
  if (!v2) return { v1 }
  // A cgroup with processes cannot give controllers to its children; only the real root may.
  if (pid !== undefined) await moveToLeaf(v2.parent, [process.pid, pid])
  await enableControllers(v2.parent)
  await mkdir(v2.directory, { recursive: true })
  const controllers = await enableControllers(v2.directory)
  return { v2: { directory: v2.directory, controllers }, v1 }
}

async function moveToLeaf(directory: string, pids: readonly number[]): Promise<void> {
  const leaf = join(directory, LEAF)
  await mkdir(leaf, { recursive: true })
  for (const pid of pids) await writeFile(join(leaf, 'cgroup.procs'), String(pid))
}

/** Hands every controller that `directory` has to its children, as far as that works; says which they have then. */
async function enableControllers(directory: string): Promise<string[]> {
  const present = await words(join(directory, 'cgroup.controllers'))
  const control = join(directory, 'cgroup.subtree_control')
  const enabled = await words(control)
  for (const controller of present.filter((each) => !enabled.includes(each))) {
    // One by one: a single one that is refused (cpu with realtime processes) would take the others with it.
    await writeFile(control, `+${controller}`).catch(() => {})
  }
  return words(control)
}

async function words(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.split(/\s+/).filter((word) => word !== '')
}
