import { writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { KeelsonError, keelsonError } from '../../errors.ts'
import { helperFailure } from '../../runtime/connection.ts'
import type { MonitorClient } from '../../runtime/monitor.ts'
import { storageError } from '../../store/errno.ts'
import { abortedError } from '../../util/abort.ts'
import { writeBundle } from '../config/bundle.ts'
import { computeConfig } from '../config/config.ts'
import type { ContainerCore } from '../core.ts'
import { leftSomething, repairCrash } from './crash.ts'
import { runnable } from './create.ts'
import { startFailure, startWarning } from '../failure.ts'
import { attachSink } from '../logs/sink.ts'
import { forgetAttached, writeAttached } from '../../network/endpoint/attached.ts'
import { attachNetworks, ownNetwork } from '../config/networking.ts'
import { lockNetworks } from '../networks/lock.ts'
import { hostnameOf } from '../namespaces/hostname.ts'
import { findPeers, mustHavePeers } from '../namespaces/peers.ts'
import { usernsOf } from '../namespaces/userns.ts'
import type { OciConfig } from '../config/oci-runtime.ts'
import { CGROUPS } from '../record/places.ts'
import { planMonitor } from './plan.ts'
import { prepareConfig } from '../config/prepare.ts'
import { makeRunDirectory } from './run-directory.ts'

/**
 * Starts the program of a container that has none, and returns when it has been executed.
 *
 * @param config that it was created with, when nothing changed since
 */
export async function startContainer(
  core: ContainerCore,
  options: { signal?: AbortSignal | undefined; config?: OciConfig | undefined },
): Promise<void> {
  await core.mustAllow('start')
  const { signal } = options
  const config = options.config ?? (await configOf(core))
  const { context, record } = core
  await makeRunDirectory(core)
  await mustHavePeers(record.options, context.run.peer)
  // Of a run whose monitor was killed.
  if (leftSomething(record)) await repairCrash(context, record)
  // Whoever connects it to a network sees it either as it was, or started.
  await using _ = await lockNetworks(core, signal)
  const client = await core.launch()
  // From here no other process can begin to remove it; one that did before has moved the record.
  await core.mustAllow('start')
  if (record.options.logs.driver === 'sink') await openSink(core, client)
  const abort = () => void client.request('kill', { stop: true }).catch(() => {})
  signal?.addEventListener('abort', abort, { once: true })
  try {
    if (signal?.aborted) throw abortedError(signal, 'Starting the container')
    // Before there is anything of it: whoever repairs after a crash must know.
    writeFileSync(join(record.run, CGROUPS), JSON.stringify(cgroupsOf(config)))
    const plan = await planStart(core, config)
    const { warnings } = await client.request('start', plan)
    for (const warning of warnings) context.run.warn(...startWarning(warning))
  } catch (error) {
    core.close()
    if (signal?.aborted) throw abortedError(signal, 'Starting the container')
    const { args, env } = config.process
    if (helperFailure(error) !== undefined) throw startFailure(error, { args, env })
    // Its monitor was killed, and then another process has removed it.
    if (!KeelsonError.is(error) || error.code === 'KEELSON_IO') await core.mustAllow('start')
    if (KeelsonError.is(error)) throw error
    throw storageError(error, 'write', record.run)
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

async function openSink(core: ContainerCore, client: MonitorClient): Promise<void> {
  const { sink, record, context } = core
  if (sink === undefined) {
    throw keelsonError(
      'KEELSON_CONTAINER_STATE',
      `The container ${record.name} writes its log to a function of another program.`,
      { container: record.id, action: 'start', hint: 'Start it in the program that created it.' },
    )
  }
  const { done } = await attachSink(client, sink, {
    tty: record.options.tty,
    onError: (error) => context.run.warn('log-sink', `The log of ${record.name}: ${String(error)}`),
  })
  core.sunk = done
}

/** What its monitor is to do: with the addresses and ports of this start, and the files that tell of them. */
async function planStart(core: ContainerCore, config: OciConfig) {
  const { places, run } = core.context
  // Another process may have connected it to other networks.
  const record = await core.refresh()
  const { id, name } = record
  forgetAttached(record.run)
  const { options } = await findPeers(record.options, run.peer, hostname())
  const userns = record.ids?.mappings ?? usernsOf(run, options)
  const container = { id, name, hostname: hostnameOf(id, options, hostname()), owner: record.run }
  const attaching = await attachNetworks(run.networking, container, options)
  if (attaching !== undefined) writeAttached(record.run, attaching.attached)
  await writeBundle(record.run, id, options, ownNetwork(attaching), userns)
  const keelson = { ...config.keelson, ...(attaching && { network: attaching.plan }) }
  return planMonitor({
    record,
    config: { ...config, keelson },
    statePath: places.state(id),
    logPath: places.log(id),
    journal: places.journal,
    directory: places.directory(id),
  })
}

/** The configuration of a container on this host, by this engine, now. */
export async function configOf(core: ContainerCore): Promise<OciConfig> {
  const { record, context } = core
  const input = await prepareConfig(context.run, {
    id: record.id,
    options: record.options,
    image: runnable(record.image),
    bundle: record.run,
    stdin: record.options.openStdin,
    terminal: record.options.tty,
    everyController: true,
    ids: record.ids?.mappings,
  })
  return computeConfig({ ...input, rootfs: record.rootfs })
}

function cgroupsOf({ keelson }: OciConfig): string[] {
  const { v2, v1 } = keelson.cgroups
  return [...(v2 === undefined ? [] : [v2]), ...Object.values(v1 ?? {})]
}
