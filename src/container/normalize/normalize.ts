/** Run options as a person gives them -> checked, and in one form each. Everything is checked before anything happens. */
import { parseDuration } from '../../util/duration.ts'
import { show } from '../../util/printable.ts'
import { HOST_GATEWAY } from '../../network/names/names.ts'
import type { PublishedPort } from '../../network/firewall/ports.ts'
import { normalizeMount, type NormalizedMount } from '../../volume/mount-spec.ts'
import { abortSignal, refuseUnknown } from './call.ts'
import { blockIo, deviceRules, hugePageLimits, type NormalizedBlockIo } from './io.ts'
import {
  cpuList,
  limitRange,
  limitSize,
  memorySize,
  pidsLimit,
  swapSize,
  ulimit,
} from './limits.ts'
import { networking, type NormalizedAttachment } from './networks.ts'
import { addresses, hostLines, hostName } from './names.ts'
import { refuseContradictions } from '../namespaces/contradictions.ts'
import {
  namespaceOption,
  usernsOption,
  type NormalizedShare,
  type UserMappings,
} from '../namespaces/options.ts'
import { device, entrypointWords, environmentRecord, workdirPath } from './process.ts'
import { sysctlRecord } from './sysctls.ts'
import {
  entries,
  flag,
  invalid,
  list,
  optionalSize,
  range,
  refuseBadImageOptions,
  text,
  textRecord,
  words,
} from './values.ts'
import type { ContainerOptions, Device, RunOptions } from '../options/options.ts'
import { standardInput } from '../run/stdio.ts'
import type { DeviceRule } from '../../security/devices.ts'

/** {@link ContainerOptions} in one form. */
export interface NormalizedContainer {
  command: string[] | undefined
  entrypoint: string[] | undefined
  env: Record<string, string | undefined>
  user: string | undefined
  workdir: string | undefined
  hostname: string | undefined
  domainname: string | undefined
  labels: Record<string, string>
  annotations: Record<string, string> | undefined
  mounts: NormalizedMount[]
  /** Of the writable layer: in memory. Undefined: on the disk. */
  storage: { size: number | undefined } | undefined
  network: 'none' | 'host' | NormalizedShare | NormalizedAttachment[]
  ports: PublishedPort[]
  memory: number | undefined
  memorySwap: number | undefined
  memoryReservation: number | undefined
  memorySwappiness: number | undefined
  blkio: NormalizedBlockIo | undefined
  hugetlb: { pageSize: string; limit: number }[]
  cpus: number | undefined
  cpuShares: number | undefined
  cpuset: string | undefined
  pids: number | undefined
  ulimits: { name: string; soft: number; hard: number }[]
  sysctls: Record<string, string>
  shmSize: number
  oomScoreAdj: number | undefined
  devices: Required<Device>[]
  deviceCgroupRules: DeviceRule[]
  capAdd: string[]
  capDrop: string[]
  privileged: boolean
  readonly: boolean
  seccomp: string | object | undefined
  apparmor: string | undefined
  noNewPrivileges: boolean
  pid: 'private' | 'host' | NormalizedShare
  ipc: 'private' | 'shareable' | 'none' | 'host' | NormalizedShare
  uts: 'private' | 'host' | NormalizedShare
  userns: 'host' | 'auto' | UserMappings
  init: boolean
  extraHosts: { name: string; address: string }[]
  dns: string[] | undefined
  dnsSearch: string[] | undefined
  dnsOptions: string[] | undefined
}

/** {@link RunOptions} in one form. */
export interface NormalizedOptions extends NormalizedContainer {
  stdin: RunOptions['stdin']
  timeout: number | undefined
  signal: AbortSignal | undefined
  maxOutput: number
  collect: boolean
  reject: boolean
  stripFinalNewline: boolean
}

const MIB = 1024 * 1024
const DEFAULT_SHM = 64 * MIB
const DEFAULT_MAX_OUTPUT = 16 * MIB
/** Names of {@link ContainerOptions}. */
export const CONTAINER_OPTIONS: readonly string[] =
  'entrypoint env user workdir hostname domainname labels annotations mounts storage networks ports memory memorySwap memoryReservation memorySwappiness blkio hugetlb cpus cpuShares cpuset pids ulimits sysctls shmSize oomScoreAdj devices deviceCgroupRules capAdd capDrop privileged readonly seccomp apparmor noNewPrivileges pid ipc uts userns init extraHosts dns dnsSearch dnsOptions'.split(
    ' ',
  )
const RUN_OPTIONS = [
  ...CONTAINER_OPTIONS,
  ...'stdin timeout signal maxOutput collect reject stripFinalNewline platform pull'.split(' '),
]

/** @throws `KEELSON_INVALID_OPTION` naming the option and what is accepted */
export function normalizeRunOptions(
  command: string | readonly string[] | undefined,
  options: RunOptions,
): NormalizedOptions {
  refuseUnknown(options, RUN_OPTIONS, 'run()')
  refuseBadImageOptions(options)
  return {
    ...normalizeContainer(command, options),
    stdin: standardInput(options.stdin),
    timeout: options.timeout === undefined ? undefined : parseDuration(options.timeout, 'timeout'),
    signal: abortSignal(options.signal),
    maxOutput: optionalSize('maxOutput', options.maxOutput) ?? DEFAULT_MAX_OUTPUT,
    collect: flag('collect', options.collect, true),
    reject: flag('reject', options.reject, true),
    stripFinalNewline: flag('stripFinalNewline', options.stripFinalNewline, false),
  }
}

/** What every container has, however it is started. @throws `KEELSON_INVALID_OPTION` */
export function normalizeContainer(
  command: string | readonly string[] | undefined,
  options: ContainerOptions,
): NormalizedContainer {
  const { network, ports } = networking(options)
  const pid = namespaceOption('pid', options.pid, ['private', 'host'])
  const ipc = namespaceOption('ipc', options.ipc, ['private', 'shareable', 'none', 'host'])
  const memory = memorySize(options)
  const uts = namespaceOption('uts', options.uts, ['private', 'host'])
  const userns = usernsOption(options.userns)
  const mounts = mountList(options.mounts)
  refuseContradictions(options, { network, pid, ipc, uts, userns, mounts })
  return {
    command: words('command', command),
    entrypoint: entrypointWords(options.entrypoint),
    env: environmentRecord(options.env),
    user: userText(options.user),
    workdir: workdirPath(options.workdir),
    hostname: hostName('hostname', options.hostname),
    domainname: hostName('domainname', options.domainname),
    labels: textRecord('labels', options.labels) ?? {},
    annotations: textRecord('annotations', options.annotations),
    mounts,
    storage: storageOption(options.storage),
    network,
    ports,
    memory,
    memorySwap: swapSize(options.memorySwap, memory),
    memoryReservation: limitSize('memoryReservation', options.memoryReservation),
    cpus: limitRange('cpus', options.cpus, 0.01, 8192),
    cpuShares: limitRange('cpuShares', options.cpuShares, 2, 262144),
    memorySwappiness: range('memorySwappiness', options.memorySwappiness, 0, 100),
    blkio: blockIo(options.blkio),
    hugetlb: hugePageLimits(options.hugetlb),
    cpuset: cpuList(options.cpuset),
    pids: pidsLimit(options.pids),
    ulimits: entries('ulimits', options.ulimits).map(([name, limit]) => ulimit(name, limit)),
    sysctls: sysctlRecord(options.sysctls, { network, ipc }),
    shmSize: limitSize('shmSize', options.shmSize) ?? DEFAULT_SHM,
    oomScoreAdj: range('oomScoreAdj', options.oomScoreAdj, -1000, 1000),
    devices: list('devices', options.devices).map(device),
    deviceCgroupRules: deviceRules(options.deviceCgroupRules),
    capAdd: words('capAdd', options.capAdd) ?? [],
    capDrop: words('capDrop', options.capDrop) ?? [],
    privileged: flag('privileged', options.privileged, false),
    readonly: flag('readonly', options.readonly, false),
    seccomp: seccompProfile(options.seccomp),
    apparmor: options.apparmor === undefined ? undefined : text('apparmor', options.apparmor),
    noNewPrivileges: flag('noNewPrivileges', options.noNewPrivileges, false),
    pid,
    ipc,
    uts,
    userns,
    init: flag('init', options.init, false),
    extraHosts: reachableHosts(hostLines(options.extraHosts), network),
    dns: addresses(options.dns),
    dnsSearch: words('dnsSearch', options.dnsSearch),
    dnsOptions: words('dnsOptions', options.dnsOptions),
  }
}

function reachableHosts(
  hosts: NormalizedContainer['extraHosts'],
  network: NormalizedContainer['network'],
): NormalizedContainer['extraHosts'] {
  if (network !== 'none' || hosts.every(({ address }) => address !== HOST_GATEWAY)) return hosts
  throw invalid('extraHosts', 'asks for host-gateway without a network', 'Name one in networks.')
}

function userText(user: string | number | undefined): string | undefined {
  return user === undefined ? undefined : text('user', typeof user === 'number' ? `${user}` : user)
}

function storageOption(storage: ContainerOptions['storage']): NormalizedContainer['storage'] {
  if (storage === undefined || storage === 'disk') return undefined
  if (storage === 'tmpfs') return { size: undefined }
  if (typeof storage === 'object' && storage !== null && Object.keys(storage).join() === 'size') {
    return { size: optionalSize('storage', storage.size) }
  }
  throw invalid('storage', `cannot be ${show(storage)}`, "Use 'disk', 'tmpfs' or { size: '1g' }.")
}

/** Two mounts at one place would leave it to chance which is seen. */
function mountList(mounts: ContainerOptions['mounts']): NormalizedMount[] {
  const normalized = list('mounts', mounts).map(normalizeMount)
  const targets = new Set<string>()
  for (const { target } of normalized) {
    if (targets.has(target)) throw invalid('mounts', `has two mounts at ${show(target)}`)
    targets.add(target)
  }
  return normalized
}

function seccompProfile(profile: unknown): string | object | undefined {
  if (profile === undefined || typeof profile === 'string') return profile
  if (typeof profile === 'object' && profile !== null) return profile
  throw invalid('seccomp', `must be a profile or the path of one, not ${show(profile)}`)
}
