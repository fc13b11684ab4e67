import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { KeelsonError, keelsonError } from '../../errors.ts'
import { giveBack } from '../../network/endpoint/join.ts'
import type { Digest } from '../../oci/digest.ts'
import type { HelperEvent, StdioEvent } from '../../runtime/protocol.ts'
import { abortedError } from '../../util/abort.ts'
import { deferred } from '../../util/deferred.ts'
import { startTimer } from '../../util/timer.ts'
import type { NormalizedMount } from '../../volume/mount-spec.ts'
import { bundleFiles } from '../config/bundle.ts'
import { commandLine } from '../config/command.ts'
import { computeConfig } from '../config/config.ts'
import type { RunContext, RunnableImage } from '../context.ts'
import { startFailure, startWarning } from '../failure.ts'
import { prepareMountSources } from '../config/mount-sources.ts'
import { attachNetworks, lostPort, ownNetwork } from '../config/networking.ts'
import { claimIds, releaseIds, type ClaimedIds } from '../namespaces/id-claims.ts'
import { hostnameOf } from '../namespaces/hostname.ts'
import { mustHavePeers, pinPeers } from '../namespaces/peers.ts'
import type { NormalizedContainer, NormalizedOptions } from '../normalize/normalize.ts'
import type { OciConfig } from '../config/oci-runtime.ts'
import { Output } from './output.ts'
import { prepareConfig } from '../config/prepare.ts'
import { howItEnded, runFailure, runResult, type Ending, type RunResult } from './result.ts'
import {
  lostStandby,
  makeStandby,
  newId,
  removeStandby,
  standbyKey,
  standbyProgram,
} from './standby.ts'
import type { Standby } from './standbys.ts'
import { feed, openInput, openPipes, type Input } from './stdio.ts'
import { claimVolumes, mountLocks, resolveMounts, type ClaimedVolumes } from '../config/volumes.ts'

/** A run that is under way: a promise of its result, and the streams meanwhile. */
export interface RunningProcess extends Promise<RunResult> {
  /** With `stdin: { pipe: true }`: write to the program; `end()` lets it read end of file. Otherwise `null`. */
  readonly stdin: Writable | null
  /** What the program writes. Once asked for it must be read, or the program waits. */
  readonly stdout: Readable
  readonly stderr: Readable
}

type ExitEvent = Extract<HelperEvent, { event: 'exit' }>

interface Program {
  args: string[]
  env: string[]
}

/** How its program, of this name, ended. */
interface Ended {
  command: string
  exit: ExitEvent
  ending: Ending | undefined
}

/** Creates, starts, waits for and removes one container. The options have been checked. */
export function runContainer(
  context: RunContext,
  image: Promise<RunnableImage>,
  options: NormalizedOptions,
): RunningProcess {
  const output = { collect: options.collect, limit: options.maxOutput }
  const run: Run = {
    id: newId(),
    options,
    started: performance.now(),
    input: openInput(options.stdin),
    stdout: new Output(output),
    stderr: new Output(output),
  }
  return withStreams(settle(run, context, image), run)
}

/** A run that ended before it began. */
export function failedRun(reason: unknown): RunningProcess {
  const none = new Output({ collect: false, limit: 0 })
  none.end()
  return withStreams(Promise.reject(reason), {
    input: openInput(undefined),
    stdout: none,
    stderr: none,
  })
}

function withStreams(
  promise: Promise<RunResult>,
  { input, stdout, stderr }: Pick<Run, 'input' | 'stdout' | 'stderr'>,
): RunningProcess {
  return Object.defineProperties(promise, {
    stdin: { value: input.writable },
    stdout: { get: () => stdout.stream },
    stderr: { get: () => stderr.stream },
  }) as RunningProcess
}

interface Run {
  /** Another where it has a container that was made ahead. */
  id: string
  options: NormalizedOptions
  /** With `userns: 'auto'`: its range, until it has ended. */
  ids?: ClaimedIds
  /** With nothing left open, once. */
  mounts?: NormalizedMount[]
  /** Its, until it has ended. */
  volumes?: ClaimedVolumes | undefined
  started: number
  input: Input
  stdout: Output
  stderr: Output
}

async function settle(
  run: Run,
  context: RunContext,
  image: Promise<RunnableImage>,
): Promise<RunResult> {
  try {
    return await carryOut(run, context, image)
  } finally {
    context.running.delete(run.id)
    if (run.ids !== undefined) await releaseIds(run.ids.path, run.id)
    run.stdout.end()
    run.stderr.end()
  }
}

async function carryOut(
  run: Run,
  context: RunContext,
  image: Promise<RunnableImage>,
): Promise<RunResult> {
  const { options } = run
  const runnable = await image
  if (options.signal?.aborted) throw abortedError(options.signal, 'The run')
  const { command, exit, ending } = await start(run, context, runnable).catch(
    async (error: unknown) => {
      await letGo(run, context)
      throw error
    },
  )
  const result = runResult(exit, {
    timedOut: ending === 'timeout',
    stdout: run.stdout.text(options),
    stderr: run.stderr.text(options),
    durationMs: performance.now() - run.started,
  })
  const failure = runFailure(result, {
    ending,
    command,
    timeout: options.timeout,
    reason: options.signal?.reason,
  })
  // An abort or close is the caller's own doing, and too much output is no result.
  const always = ending !== undefined && ending !== 'timeout'
  if (failure !== undefined && (options.reject || always)) throw failure
  return result
}

/** In a container that was made ahead, where there is one. */
async function start(run: Run, context: RunContext, image: RunnableImage): Promise<Ended> {
  const { options } = run
  const { standbys } = context
  const args = commandLine(options, image.config.config)
  const key = standbyKey(options, image)
  const standby = key === undefined ? undefined : standbys.take(key)
  let foresaw = key === undefined
  // When the launcher has been asked for this one: the next must not stand in its way.
  const foresee = () => {
    if (key === undefined || foresaw) return
    foresaw = true
    standbys.foresee(key, standby !== undefined, () => makeStandby(context, options, image))
  }
  if (standby !== undefined) {
    run.id = standby.id
    context.running.set(run.id, image.descriptor)
    try {
      return await startStandby(run, context, image, { standby, args, foresee })
    } catch (error) {
      context.running.delete(run.id)
      if (!lostStandby(error) && !lostPort(error, options.ports, 1)) throw error
      run.id = newId()
    }
  }
  context.running.set(run.id, image.descriptor)
  return await startNew(run, context, image, { spare: key === undefined, foresee })
}

async function startStandby(
  run: Run,
  context: RunContext,
  image: RunnableImage,
  { standby, args, foresee }: { standby: Standby; args: string[]; foresee: () => void },
): Promise<Ended> {
  const { options } = run
  const { launcher } = context
  const attached = await attach(run, context, options).catch(async (error: unknown) => {
    await removeStandby(launcher, standby)
    throw error
  })
  const order = standbyProgram(standby, options, image, args, attached)
  try {
    return await execute(run, context, image.digest, order.program, () => {
      const started = launcher.request('standby.run', order)
      foresee()
      return started
    })
  } catch (error) {
    // Nobody else has heard of it.
    if (lostStandby(error) && attached !== undefined) await giveBack(attached.plan.remove)
    throw error
  }
}

/** Again with other ports where one that was to be free was not. */
async function startNew(
  run: Run,
  context: RunContext,
  image: RunnableImage,
  { spare, foresee }: { spare: boolean; foresee: () => void },
): Promise<Ended> {
  for (let attempt = 1; ; attempt++) {
    const config = await prepare(run, context, image, spare)
    try {
      return await execute(run, context, image.digest, config.process, () => {
        const started = context.launcher.request('run', { container: run.id, config })
        foresee()
        return started
      })
    } catch (error) {
      if (!lostPort(error, run.options.ports, attempt)) throw error
    }
  }
}

async function prepare(
  run: Run,
  context: RunContext,
  image: RunnableImage,
  spare: boolean,
): Promise<OciConfig> {
  const { id } = run
  await mustHavePeers(run.options, context.peer)
  const pinned = await pinPeers(run.options, context.peer)
  const parameters = image.config.config
  run.mounts ??= await resolveMounts(context, pinned, parameters, pinned.signal)
  const options = { ...pinned, mounts: run.mounts }
  if (options.userns === 'auto') {
    run.ids ??= await claimIds(context.places, { id, engine: context.directory })
  }
  const input = await prepareConfig(context, {
    id,
    options,
    image,
    bundle: join(context.directory, id),
    stdin: run.options.stdin !== undefined,
    terminal: false,
    everyController: false,
    ids: run.ids?.mappings,
  })
  let config = computeConfig(input)
  // Whatever is wrong with the options has shown by now; from here on something is made.
  await prepareMountSources(options.mounts)
  const user = { container: id, owners: [context.directory] }
  const asked = { mounts: options.mounts, detached: false }
  run.volumes ??= await claimVolumes(context, user, asked, image.chain, options.signal)
  if (run.volumes !== undefined) {
    const { mounts, sources } = run.volumes
    config = computeConfig({ ...input, options: { ...input.options, mounts }, sources })
  }
  // Without mounts nobody else looks into it before.
  const wanted = { spare, unmade: !spare, tmpfs: options.storage }
  Object.assign(config.keelson, await context.snapshotter.prepare(id, image.chain, wanted))
  config.keelson.locks = [...config.keelson.locks, ...mountLocks(context, options.mounts)]
  const attached = await attach(run, context, input.options).catch(async (error: unknown) => {
    await context.launcher.request('tree.remove', { paths: config.keelson.remove })
    throw error
  })
  if (attached !== undefined) config.keelson.network = attached.plan
  // The helper writes them while the container makes its namespaces: less time than any turn of the event loop here.
  config.keelson.files = bundleFiles(id, input.options, ownNetwork(attached))
  return config
}

/** Claims what it has on its networks. */
async function attach({ id }: Run, context: RunContext, options: NormalizedContainer) {
  const container = {
    id,
    hostname: hostnameOf(id, options, hostname()),
    owner: context.directory,
  }
  return await attachNetworks(context.networking, container, options)
}

/** From the request to the end of the program and of its output. */
async function execute(
  run: Run,
  context: RunContext,
  image: Digest,
  program: Program,
  request: () => Promise<{ pid: number; warnings: string[] }>,
): Promise<Ended> {
  const { id, options } = run
  const { launcher } = context
  const about = { container: id, image, digest: image, labels: options.labels }
  let ending: Ending | undefined
  const end = (why: Ending) => {
    if (ending !== undefined) return
    ending = why
    // It may be gone already, or not there yet: then the launcher kills it as soon as it is.
    launcher.request('kill', { container: id, all: true }).catch(() => {})
  }
  const removing = deferred<void>()
  context.removing.add(removing.promise)
  const forget = () => {
    unwatch()
    unlisten()
    context.removing.delete(removing.promise)
    removing.resolve()
  }
  const exited = deferred<ExitEvent>()
  // The end of a short program can arrive together with the word of its start.
  const started = deferred<void>()
  const tell = (event: () => void) => void started.promise.then(event)
  const streams: Promise<unknown>[] = []
  const unwatch = launcher.watch(id, (event) => {
    switch (event.event) {
      case 'stdio':
        streams.push(...connect(run, context, event, () => end('overflow')))
        break
      case 'exit':
        exited.resolve(event)
        tell(() =>
          context.emit('container.exit', { ...about, ...howItEnded(event), restarting: false }),
        )
        break
      case 'removed':
        tell(() => context.emit('container.remove', about))
        if (run.volumes === undefined) forget()
        else void letGo(run, context).finally(forget)
        for (const failure of event.errors) {
          context.warn(
            'container-left-behind',
            `Container ${id}: ${failure.step} failed (${failure.errno ?? failure.detail}).`,
          )
        }
        break
    }
  })
  const abort = () => end('abort')
  const close = () => end('close')
  const stopTimer =
    options.timeout === undefined ? () => {} : startTimer(options.timeout, () => end('timeout'))
  options.signal?.addEventListener('abort', abort, { once: true })
  context.closing.addEventListener('abort', close, { once: true })
  const unlisten = launcher.onClose(forget)
  try {
    const running = request()
    // While it was prepared nobody listened.
    if (options.signal?.aborted) abort()
    if (context.closing.aborted) close()
    const { pid, warnings } = await running.catch((error: unknown) => {
      forget()
      throw startError(error, ending, run, program)
    })
    context.emit('container.start', { ...about, pid })
    started.resolve()
    for (const warning of warnings) context.warn(...startWarning(warning))
    const event = await launcher.unlessClosed(exited.promise)
    await Promise.all(streams)
    return { command: program.args[0] ?? '', exit: event, ending }
  } finally {
    stopTimer()
    options.signal?.removeEventListener('abort', abort)
    context.closing.removeEventListener('abort', close)
  }
}

/** It is no more, and neither is what it had of volumes. */
async function letGo({ id, volumes }: Run, context: RunContext): Promise<void> {
  try {
    await volumes?.release()
  } catch (error) {
    context.warn('container-left-behind', `Container ${id}: ${String(error)}`)
  }
}

function connect(
  run: Run,
  context: RunContext,
  event: StdioEvent,
  onOverflow: () => void,
): Promise<unknown>[] {
  try {
    const pipes = openPipes(event)
    const work: Promise<unknown>[] = [
      run.stdout.drain(pipes.stdout, onOverflow),
      run.stderr.drain(pipes.stderr, onOverflow),
    ]
    // Not waited for: a stream that never ends must not outlive the program that reads it.
    if (pipes.stdin !== undefined && run.input.source !== undefined) {
      feed(run.input.source, pipes.stdin).catch(() => onOverflow())
    }
    return work
  } finally {
    context.launcher.notify('release', { container: run.id })
  }
}

function startError(error: unknown, ending: Ending | undefined, run: Run, program: Program) {
  // Another is tried.
  if (lostStandby(error)) return error
  const { args } = program
  const failure = startFailure(error, program)
  if (ending === 'abort' && run.options.signal !== undefined)
    return abortedError(run.options.signal, 'The run')
  if (ending === 'timeout' && KeelsonError.is(failure)) {
    return keelsonError(
      'KEELSON_TIMEOUT',
      `${args[0]} did not start within ${run.options.timeout} ms.`,
      { cause: failure },
    )
  }
  return failure
}
