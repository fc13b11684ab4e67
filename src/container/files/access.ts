import { setTimeout as pause } from 'node:timers/promises'
import { existsSync } from 'node:fs'
import { keelsonError } from '../../errors.ts'
import type { ConfigChanges } from '../../image/commit.ts'
import { helperFailure } from '../../runtime/connection.ts'
import type { RootPlace } from '../../runtime/protocol.ts'
import type { OpenRoot, RootOptions } from '../../snapshot/files/files.ts'
import { acquireLock } from '../../store/lock.ts'
import { throwIfAborted } from '../../util/abort.ts'
import { deferred } from '../../util/deferred.ts'
import type { ContainerCore } from '../core.ts'
import { tryMonitorLock } from '../lifecycle/crash.ts'
import type { OciConfig } from '../config/oci-runtime.ts'
import { configOf } from '../lifecycle/start.ts'
import type { CommitAccess } from './commit.ts'
import type { CopyAccess } from './copy-in.ts'

type Release = () => Promise<void> | void

/** How often the lock is tried for, and how long to wait between. */
const ATTEMPTS = 100
const PAUSE_MS = 5

/** What the files of a container, its copies and commits work on. */
export function containerAccess(core: ContainerCore): CopyAccess & CommitAccess {
  const { context, record } = core
  const { launcher, snapshotter, user } = context.run
  return {
    helper: { request: (...request) => whileThere(core, launcher.request(...request)) },
    devices: user === undefined && record.options.userns === 'host' ? 'create' : 'skip',
    owners: user !== undefined && user.newuidmap === undefined ? 'squash' : 'keep',
    open: (options) => openRoot(core, options),
    compare: async ({ signal }) => {
      await core.mustBeThere()
      if (record.options.storage !== undefined) throw inMemory(core, 'KEELSON_UNSUPPORTED')
      const mounts = (await configOf(core)).mounts.map(({ destination }) => destination)
      const releases = await holdLayers(core, signal)
      return {
        roots: {
          rootfs: record.rootfs.rootfs,
          base: snapshotter.view(record.image.chain),
          mountpoints: mounts,
        },
        [Symbol.asyncDispose]: () => releaseAll(releases),
      }
    },
    images: context.images,
    image: record.image,
    config: ownConfig(core),
    paused: async (work, must) => {
      if ((await core.status()) !== 'running') return await work()
      try {
        await core.ask('pause', 'pause', {})
      } catch (error) {
        if (helperFailure(error)?.kind !== 'limit-unsupported') throw error
        if (must) throw cannotPause(error)
        return await work()
      }
      try {
        return await work()
      } finally {
        await core.ask('unpause', 'resume', {})
      }
    },
  }
}

function cannotPause(cause: unknown) {
  return keelsonError(
    'KEELSON_CGROUP_UNAVAILABLE',
    'The container cannot be paused on this host.',
    {
      cause,
      hint: 'Commit it without { pause: true }, or stop it before; engine.doctor() says what is missing.',
    },
  )
}

/** The root file system that its processes see, or, when it has none, the one that they will see. */
async function openRoot(core: ContainerCore, options: RootOptions): Promise<OpenRoot> {
  const { write, submounts = true, signal } = options
  await core.mustBeThere()
  const running = await runningPlace(core, submounts)
  if (running !== undefined) return { place: running, [Symbol.asyncDispose]: async () => {} }
  const releases: Release[] = []
  try {
    if (write) releases.push(...(await keepStopped(core, signal)))
    // Somebody started it before it was kept from that.
    const started = await runningPlace(core, submounts)
    if (started !== undefined) {
      await releaseAll(releases)
      return { place: started, [Symbol.asyncDispose]: async () => {} }
    }
    if (write && core.record.options.storage !== undefined) {
      throw inMemory(core, 'KEELSON_CONTAINER_STATE')
    }
    releases.push(...(await holdLayers(core, signal)))
    const binds = submounts ? bindsOf(await configOf(core), core.record.run) : []
    const place = { rootfs: core.record.rootfs.rootfs, binds }
    return { place, [Symbol.asyncDispose]: () => releaseAll(releases) }
  } catch (error) {
    await releaseAll(releases)
    throw error
  }
}

/** What fails because the container was removed meanwhile says so. */
async function whileThere<T>(core: ContainerCore, request: Promise<T>): Promise<T> {
  try {
    return await request
  } catch (error) {
    const status = await core.mustBeThere()
    // Its monitor is at it.
    if (core.record.options.autoRemove && status === 'exited') throw core.gone()
    throw error
  }
}

/** Its writable layer begins with the program and ends with it. */
function inMemory(
  { id, record }: ContainerCore,
  code: 'KEELSON_UNSUPPORTED' | 'KEELSON_CONTAINER_STATE',
) {
  return keelsonError(code, `What the container ${record.name} writes is kept in memory alone.`, {
    container: id,
    hint: 'Copy files while it runs, or create it without storage.',
  })
}

async function runningPlace(
  core: ContainerCore,
  submounts: boolean,
): Promise<RootPlace | undefined> {
  const state = await core.state()
  if (state === undefined || state.pid === 0 || state.status === 'exited') return undefined
  return { pid: state.pid, parent: state.monitor, submounts }
}

/** Keeps every process from starting it: two mounts must not write to one upper directory. */
async function keepStopped(
  core: ContainerCore,
  signal: AbortSignal | undefined,
): Promise<Release[]> {
  const entered = deferred<void>()
  const leave = deferred<void>()
  core.turn
    .run(async () => {
      entered.resolve()
      await leave.promise
    }, signal)
    .catch(entered.reject)
  await entered.promise
  const lock = await monitorLock(core, signal).catch((error: unknown) => {
    leave.resolve()
    throw error
  })
  if (lock !== 'busy') {
    return [() => leave.resolve(), async () => await lock?.[Symbol.asyncDispose]()]
  }
  leave.resolve()
  if ((await runningPlace(core, true)) !== undefined) return []
  const { name, id } = core.record
  const status = await core.status()
  throw keelsonError(
    'KEELSON_CONTAINER_STATE',
    `Cannot change files of the container ${name}: it is being started or has just ended.`,
    { container: id, containerName: name, containerStatus: status, hint: 'Try again.' },
  )
}

/** A monitor that has told of the end holds its lock for a moment more. */
async function monitorLock(core: ContainerCore, signal: AbortSignal | undefined) {
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(signal, 'The access to files')
    const lock = await tryMonitorLock(core.context.run.launcher, core.record)
    if (lock !== 'busy' || attempt === ATTEMPTS) return lock
    if ((await runningPlace(core, true)) !== undefined) return lock
    await pause(PAUSE_MS)
  }
}

/** No sweep takes its layers away. */
async function holdLayers(
  core: ContainerCore,
  signal: AbortSignal | undefined,
): Promise<Release[]> {
  const releases: Release[] = []
  try {
    for (const { path, mode } of core.record.rootfs.locks) {
      const lock = await acquireLock(core.context.run.launcher, path, mode, { signal })
      releases.push(() => lock.release())
    }
    return releases
  } catch (error) {
    await releaseAll(releases)
    throw error
  }
}

async function releaseAll(releases: Release[]): Promise<void> {
  for (const release of releases.splice(0).toReversed()) await release()
}

/** Volumes and files of the host; what is made anew for each run is not there yet. */
function bindsOf({ mounts, keelson }: OciConfig, run: string) {
  const extensions = keelson.mounts ?? {}
  return mounts
    .filter(({ options, source, destination }) => {
      if (extensions[destination]?.rootfs !== undefined) return false
      const bind = options.includes('bind') || options.includes('rbind')
      return bind && !source.startsWith(`${run}/`) && existsSync(source)
    })
    .map(({ source, destination, options }) => ({
      source,
      target: destination,
      subpath: extensions[destination]?.subpath,
      readonly: options.includes('ro') || options.includes('rro'),
    }))
}

/** As it was asked to run, in the words of an image's configuration. */
function ownConfig({ record }: ContainerCore): ConfigChanges {
  const { entrypoint, command, env, user, workdir, labels } = record.options
  const given = Object.entries(env).filter((entry) => entry[1] !== undefined)
  return {
    ...(entrypoint === undefined ? {} : { Entrypoint: [...entrypoint], Cmd: [] }),
    ...(command === undefined || command.length === 0 ? {} : { Cmd: [...command] }),
    ...(given.length === 0 ? {} : { Env: given.map(([name, value]) => `${name}=${value}`) }),
    ...(user === undefined ? {} : { User: user }),
    ...(workdir === undefined ? {} : { WorkingDir: workdir }),
    ...(Object.keys(labels).length === 0 ? {} : { Labels: labels }),
  }
}
