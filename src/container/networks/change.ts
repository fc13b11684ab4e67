/** Connecting containers to networks, and disconnecting them: at once where they run, else for their next start. */
import { hostname } from 'node:os'
import { keelsonError, KeelsonError } from '../../errors.ts'
import { readAttached, type AttachedEndpoint } from '../../network/endpoint/attached.ts'
import { joinAnother, leaveOne, type Running } from '../../network/endpoint/change.ts'
import { wantedAddresses } from '../../network/endpoint/join.ts'
import { releaseNames } from '../../network/names/name-files.ts'
import type {
  ChangedMember,
  NetworkConnectOptions,
  NetworkDisconnectOptions,
} from '../../network/members.ts'
import type { Network } from '../../network/network.ts'
import { throwIfAborted } from '../../util/abort.ts'
import { joining, resolversFor } from '../config/networking.ts'
import type { ContainerCore } from '../core.ts'
import { isActive } from '../lifecycle/state.ts'
import { hostnameOf } from '../namespaces/hostname.ts'
import { abortSignal, refuseUnknown } from '../normalize/call.ts'
import { attachment, type NormalizedAttachment } from '../normalize/networks.ts'
import type { ContainerRecord } from '../record/record.ts'
import { networkFailure } from './failure.ts'
import { rewriteHosts, withAddresses, withoutAddresses } from './hosts.ts'
import { lockNetworks } from './lock.ts'

/** What a container that runs is on now; `undefined` when it does not. */
export type Now = Running['attached'] | undefined

export async function connectContainer(
  core: ContainerCore,
  network: Network,
  options: NetworkConnectOptions,
): Promise<ChangedMember | undefined> {
  refuseUnknown(options, ['aliases', 'ip', 'ip6', 'mac', 'priority', 'signal'], 'connect()')
  const { signal: given, ...rest } = options
  const signal = abortSignal(given)
  const wanted = attachment({ network: network.name, ...rest })
  return await changeNetworks(core, signal, async (record, now) => {
    const present = networksOf(record)
    const recorded = await recordedAs(core, present, network)
    if (recorded !== undefined || endpointOn(now, network) !== undefined) {
      throw membership('KEELSON_NETWORK_CONNECTED', record, network)
    }
    wantedAddresses(network.record, wanted)
    throwIfAborted(signal, 'Connecting the container')
    if (now !== undefined) await join(core, record, now, { ...wanted, network })
    const networks = [...present, wanted]
    await core.save({ ...record, options: { ...record.options, network: networks } })
    return true
  })
}

export async function disconnectContainer(
  core: ContainerCore,
  network: Network,
  options: NetworkDisconnectOptions,
): Promise<ChangedMember | undefined> {
  refuseUnknown(options, ['force', 'signal'], 'disconnect()')
  const { force = false } = options
  const signal = abortSignal(options.signal)
  return await changeNetworks(core, signal, async (record, now) => {
    const present = networksOf(record)
    const endpoint = endpointOn(now, network)
    const recorded = await recordedAs(core, present, network)
    if (recorded === undefined && endpoint === undefined) {
      if (force) return false
      throw membership('KEELSON_NETWORK_NOT_CONNECTED', record, network)
    }
    throwIfAborted(signal, 'Disconnecting the container')
    if (now !== undefined && endpoint !== undefined) {
      await leave(core, record, now, { network, endpoint, force })
    }
    const left = present.filter((each) => each !== recorded)
    await core.save({ ...record, options: { ...record.options, network: left } })
    return true
  })
}

/** One change at a time, of all processes; what `change` is told stays true meanwhile. It says whether there was anything to do. */
async function changeNetworks(
  core: ContainerCore,
  signal: AbortSignal | undefined,
  change: (record: ContainerRecord, now: Now) => Promise<boolean>,
): Promise<ChangedMember | undefined> {
  return await core.turn.run(async () => {
    await core.mustAllow('change its networks')
    // Of another mode it never has networks of its own.
    networksOf(core.record)
    await using _ = await lockNetworks(core, signal)
    const status = await core.mustAllow('change its networks')
    const record = await core.refresh()
    const now = isActive(status) ? readAttached(record.run) : undefined
    const changed = await change(record, now).catch(async (error: unknown) => {
      // Another process has removed it meanwhile, with the directory of its run.
      if (KeelsonError.is(error) && error.code === 'KEELSON_IO') {
        await core.mustAllow('change its networks')
      }
      throw error
    })
    return changed ? { container: core.id, containerName: core.record.name } : undefined
  }, signal)
}

async function join(
  core: ContainerCore,
  record: ContainerRecord,
  now: Running['attached'],
  wanted: Parameters<typeof joinAnother>[2],
): Promise<void> {
  const { places } = core.context.run.networking
  const after = await joinAnother(places, running(core, record, now), wanted)
  const endpoint = after.endpoints.find((each) => each.network === wanted.network.id)
  const addresses = endpoint?.addresses ?? []
  rewriteHosts(record.run, (text) => withAddresses(text, addresses, hostnameIn(record)))
}

async function leave(
  core: ContainerCore,
  record: ContainerRecord,
  now: Running['attached'],
  { network, endpoint, force }: { network: Network; endpoint: AttachedEndpoint; force: boolean },
): Promise<void> {
  const { places } = core.context.run.networking
  await leaveOne(places, running(core, record, now), network, { force })
  // With those that it was given since by renaming it.
  releaseNames(places, network.id, core.id)
  rewriteHosts(record.run, (text) => withoutAddresses(text, endpoint.addresses, hostnameIn(record)))
}

function running(core: ContainerCore, record: ContainerRecord, attached: Running['attached']) {
  const { networks } = core.context.run.networking
  const { id, name, run, options } = record
  return {
    ...joining({ id, name, hostname: hostnameIn(record), owner: run }),
    attached,
    resolvers: resolversFor(options),
    network: (network: string) => networks.get(network),
    change: async (change) => {
      const client = await core.monitor('change its networks')
      await client.request('network', change).catch((error: unknown) => {
        throw networkFailure(error, record.name)
      })
    },
  } satisfies Running
}

/** @throws `KEELSON_NETWORK_MODE` for a container that has no network of its own */
function networksOf({ id, name, options: { network } }: ContainerRecord): NormalizedAttachment[] {
  if (Array.isArray(network)) return network
  const facts = { container: id, containerName: name, networks: network }
  const cannot = `The networks of the container ${name} cannot be changed`
  if (network === 'none') {
    throw keelsonError('KEELSON_NETWORK_MODE', `${cannot}: it was created with none.`, {
      ...facts,
      hint: 'Create it with networks: [] to connect it later.',
    })
  }
  const whose = network === 'host' ? "the host's" : 'that of another container'
  throw keelsonError('KEELSON_NETWORK_MODE', `${cannot}: it shares ${whose}.`, {
    ...facts,
    hint:
      network === 'host'
        ? 'Create it on networks of its own; from the host, all of them can be reached.'
        : `Connect the container ${network.container}: both are on its networks.`,
  })
}

function membership(
  code: 'KEELSON_NETWORK_CONNECTED' | 'KEELSON_NETWORK_NOT_CONNECTED',
  { id, name }: ContainerRecord,
  network: Network,
): KeelsonError {
  const is = code === 'KEELSON_NETWORK_CONNECTED'
  return keelsonError(
    code,
    `The container ${name} is ${is ? 'on' : 'not on'} the network ${network.name}${is ? ' already' : ''}.`,
    {
      container: id,
      containerName: name,
      network: network.name,
      hint: is
        ? 'Disconnect it first, to connect it with other options.'
        : 'container.inspect() says on which networks it is.',
    },
  )
}

/** Which of its networks this one is: by its name, its id, or the first digits of that, as the container was created with. */
async function recordedAs(
  { context }: ContainerCore,
  recorded: readonly NormalizedAttachment[],
  { id, name }: Network,
): Promise<NormalizedAttachment | undefined> {
  const { networks } = context.run.networking
  const named = recorded.find(({ network }) => network === name)
  if (named !== undefined) return named
  const found = await Promise.allSettled(recorded.map(({ network }) => networks.get(network)))
  return recorded.find((_, n) => {
    const network = found[n]
    return network?.status === 'fulfilled' && network.value.id === id
  })
}

function endpointOn(now: Now, { id }: Network): AttachedEndpoint | undefined {
  return now?.endpoints.find(({ network }) => network === id)
}

function hostnameIn({ id, options }: ContainerRecord): string {
  return hostnameOf(id, options, hostname())
}
