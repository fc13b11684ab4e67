/** Run options as a person gives them -> checked, and in one form each. Everything is checked before anything happens. */
import { isIP } from 'node:net'
import { keelsonError } from '../errors.ts'
import { parseDuration } from '../util/duration.ts'
import { nearest } from '../util/nearest.ts'
import { parseSize, type Size } from '../util/size.ts'
import { normalizeMount, type NormalizedMount } from '../volume/mount-spec.ts'
import type { Device, RunOptions, Ulimit } from './options.ts'

/** {@link RunOptions} in one form. */
export interface NormalizedOptions {
  command: string[] | undefined
  entrypoint: string[] | undefined
  env: Record<string, string | undefined>
  user: string | undefined
  workdir: string | undefined
  hostname: string | undefined
  domainname: string | undefined
  annotations: Record<string, string> | undefined
  mounts: NormalizedMount[]
  network: 'none' | 'host'
  memory: number | undefined
  memorySwap: number | undefined
  memoryReservation: number | undefined
  cpus: number | undefined
  cpuShares: number | undefined
  cpuset: string | undefined
  pids: number | undefined
  ulimits: { name: string; soft: number; hard: number }[]
  sysctls: Record<string, string>
  shmSize: number
  oomScoreAdj: number | undefined
  devices: Required<Device>[]
  capAdd: string[]
  capDrop: string[]
  privileged: boolean
  readonly: boolean
  seccomp: string | object | undefined
  apparmor: string | undefined
  noNewPrivileges: boolean
  pid: 'private' | 'host'
  ipc: 'private' | 'host'
  uts: 'private' | 'host'
  init: boolean
  extraHosts: { name: string; address: string }[]
  dns: string[] | undefined
  dnsSearch: string[] | undefined
  dnsOptions: string[] | undefined
  stdin: RunOptions['stdin']
  timeout: number | undefined
  signal: AbortSignal | undefined
  maxOutput: number
  collect: boolean
  reject: boolean
}

const MIB = 1024 * 1024
const MIN_MEMORY = 6 * MIB
const DEFAULT_SHM = 64 * MIB
const DEFAULT_MAX_OUTPUT = 16 * MIB
const RLIMITS = new Set(
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
    ' ',
  ),
)
const KNOWN =
  'entrypoint env user workdir hostname domainname labels annotations mounts networks memory memorySwap memoryReservation cpus cpuShares cpuset pids ulimits sysctls shmSize oomScoreAdj devices capAdd capDrop privileged readonly seccomp apparmor noNewPrivileges pid ipc uts init extraHosts dns dnsSearch dnsOptions stdin timeout signal maxOutput collect reject platform pull'.split(
    ' ',
  )

/** @throws `KEELSON_INVALID_OPTION` naming the option and what is accepted */
export function normalizeRunOptions(
  command: string | readonly string[] | undefined,
  options: RunOptions,
): NormalizedOptions {
  refuseUnknown(options)
  const network = oneOf('networks', options.networks ?? 'none', ['none', 'host'])
  const memory = memorySize(options)
  return {
    command: words('command', command),
    entrypoint: entrypointWords(options.entrypoint),
    env: environmentRecord(options.env ?? {}),
    user: options.user === undefined ? undefined : text('user', String(options.user)),
    workdir: workdirPath(options.workdir),
    hostname: hostName('hostname', options.hostname),
    domainname: hostName('domainname', options.domainname),
    annotations: options.annotations,
    mounts: (options.mounts ?? []).map(normalizeMount),
    network,
    memory,
    memorySwap: swapSize(options.memorySwap, memory),
    memoryReservation: optionalSize('memoryReservation', options.memoryReservation),
    cpus: range('cpus', options.cpus, 0.01, 8192),
    cpuShares: range('cpuShares', options.cpuShares, 2, 262144),
    cpuset: cpuList(options.cpuset),
    pids: pidsLimit(options.pids),
    ulimits: Object.entries(options.ulimits ?? {}).map(([name, limit]) => ulimit(name, limit)),
    sysctls: sysctlRecord(options.sysctls ?? {}, { network, ipc: options.ipc ?? 'private' }),
    shmSize: optionalSize('shmSize', options.shmSize) ?? DEFAULT_SHM,
    oomScoreAdj: range('oomScoreAdj', options.oomScoreAdj, -1000, 1000),
    devices: (options.devices ?? []).map(device),
    capAdd: words('capAdd', options.capAdd) ?? [],
    capDrop: words('capDrop', options.capDrop) ?? [],
    privileged: options.privileged ?? false,
    readonly: options.readonly ?? false,
    seccomp: options.seccomp,
    apparmor: options.apparmor,
    noNewPrivileges: options.noNewPrivileges ?? false,
    pid: oneOf('pid', options.pid ?? 'private', ['private', 'host']),
    ipc: oneOf('ipc', options.ipc ?? 'private', ['private', 'host']),
    uts: oneOf('uts', options.uts ?? 'private', ['private', 'host']),
    init: options.init ?? false,
    extraHosts: hostLines(options.extraHosts ?? {}),
    dns: addresses(options.dns),
    dnsSearch: words('dnsSearch', options.dnsSearch),
    dnsOptions: words('dnsOptions', options.dnsOptions),
    stdin: options.stdin,
    timeout: options.timeout === undefined ? undefined : parseDuration(options.timeout, 'timeout'),
    signal: options.signal,
    maxOutput: optionalSize('maxOutput', options.maxOutput) ?? DEFAULT_MAX_OUTPUT,
    collect: options.collect ?? true,
    reject: options.reject ?? true,
  }
}

function refuseUnknown(options: object): void {
  for (const name of Object.keys(options)) {
    if (KNOWN.includes(name)) continue
    const near = nearest(name, KNOWN)
    throw invalid(
      name,
      'is not an option of run()',
      near ? `Did you mean ${near}?` : `The options are ${KNOWN.join(', ')}.`,
    )
  }
}

function words(
  option: string,
  value: string | readonly string[] | undefined,
): string[] | undefined {
  if (value === undefined) return undefined
  const list = typeof value === 'string' ? [value] : value
  if (!Array.isArray(list)) throw invalid(option, 'must be a list of strings')
  return list.map((word) => text(option, word))
}

/** An empty word is Docker's way to say "none". */
function entrypointWords(value: string | readonly string[] | undefined): string[] | undefined {
  return words('entrypoint', value === '' ? [] : value)
}

/** The kernel ends strings at NUL. */
function text(option: string, value: unknown): string {
  if (typeof value !== 'string') throw invalid(option, `must hold strings, not ${typeof value}`)
  if (value.includes('\0')) throw invalid(option, 'holds a NUL character')
  return value
}

function environmentRecord(env: Record<string, string | undefined> | readonly string[]) {
  const entries: [string, string | undefined][] = Array.isArray(env)
    ? env.map((line: string) => {
        const at = line.indexOf('=')
        return at < 0 ? [line, undefined] : [line.slice(0, at), line.slice(at + 1)]
      })
    : Object.entries(env)
  for (const [name, value] of entries) {
    text('env', name)
    if (name === '' || name.includes('=')) {
      throw invalid(
        'env',
        `has a variable named ${JSON.stringify(name)}`,
        'A name is not empty and has no "=".',
      )
    }
    if (value !== undefined) text('env', value)
  }
  return Object.fromEntries(entries)
}

function workdirPath(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  if (!text('workdir', path).startsWith('/')) {
    throw invalid('workdir', `must be an absolute path, not ${JSON.stringify(path)}`)
  }
  return path
}

function hostName(option: string, name: string | undefined): string | undefined {
  if (name === undefined) return undefined
  if (name.length <= 63 && /^[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9_])?$/.test(name)) return name
  throw invalid(
    option,
    `is not a host name: ${JSON.stringify(name)}`,
    'Letters, digits, dots and hyphens, at most 63.',
  )
}

function optionalSize(option: string, size: Size | undefined): number | undefined {
  return size === undefined ? undefined : parseSize(size, option)
}

function memorySize({ memory, memoryReservation }: RunOptions): number | undefined {
  const bytes = optionalSize('memory', memory)
  if (bytes !== undefined && bytes < MIN_MEMORY) {
    throw invalid(
      'memory',
      `is ${bytes} bytes, too little to start a program`,
      `Give at least ${MIN_MEMORY} (6m).`,
    )
  }
  const reserved = optionalSize('memoryReservation', memoryReservation)
  if (bytes !== undefined && reserved !== undefined && reserved > bytes) {
    throw invalid('memoryReservation', 'is more than memory')
  }
  return bytes
}

function swapSize(size: Size | undefined, memory: number | undefined): number | undefined {
  if (size === undefined) return undefined
  if (memory === undefined)
    throw invalid('memorySwap', 'needs memory', 'It counts memory and swap together.')
  if (size === -1 || size === '-1') return -1
  const bytes = parseSize(size, 'memorySwap')
  if (bytes < memory)
    throw invalid('memorySwap', 'is less than memory', 'It counts memory and swap together.')
  return bytes
}

function range(option: string, value: number | undefined, least: number, most: number) {
  if (value === undefined) return undefined
  if (typeof value === 'number' && value >= least && value <= most) return value
  throw invalid(option, `must be a number from ${least} to ${most}, not ${String(value)}`)
}

function cpuList(list: string | undefined): string | undefined {
  if (list === undefined || /^\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*$/.test(list)) return list
  throw invalid(
    'cpuset',
    `is not a list of processors: ${JSON.stringify(list)}`,
    'Write it as "0-2,4".',
  )
}

function pidsLimit(limit: number | undefined): number | undefined {
  if (limit === undefined || limit === -1 || (Number.isInteger(limit) && limit > 0)) return limit
  throw invalid('pids', `must be a whole number above 0, or -1 for unlimited, not ${String(limit)}`)
}

function ulimit(name: string, limit: Ulimit) {
  const short = name.toLowerCase().replace(/^rlimit_/, '')
  if (!RLIMITS.has(short)) {
    const near = nearest(short, RLIMITS)
    throw invalid(
      'ulimits',
      `knows no limit ${JSON.stringify(name)}`,
      near ? `Did you mean ${near}?` : `The limits are ${[...RLIMITS].join(', ')}.`,
    )
  }
  const { soft, hard } = typeof limit === 'number' ? { soft: limit, hard: limit } : limit
  for (const value of [soft, hard]) {
    if (!Number.isSafeInteger(value) || value < -1)
      throw invalid('ulimits', `has no whole number for ${name}`)
  }
  if (hard !== -1 && (soft === -1 || soft > hard))
    throw invalid('ulimits', `has a soft ${name} above the hard one`)
  return { name: short, soft, hard }
}

const IPC_SYSCTL = /^(?:kernel\.(?:shm|msg)\w*|kernel\.sem|fs\.mqueue\.\w+)$/

function sysctlRecord(
  sysctls: Record<string, string>,
  { network, ipc }: { network: string; ipc: string },
): Record<string, string> {
  for (const [name, value] of Object.entries(sysctls)) {
    text('sysctls', value)
    if (!/^[a-z0-9_]+(?:[./][a-zA-Z0-9_-]+)+$/.test(name) || name.includes('..')) {
      throw invalid('sysctls', `has a malformed name ${JSON.stringify(name)}`)
    }
    const namespaced =
      (name.startsWith('net.') && network !== 'host') || (IPC_SYSCTL.test(name) && ipc !== 'host')
    if (!namespaced) {
      throw invalid(
        'sysctls',
        `would change ${name} of the whole host`,
        "Only parameters of the container's own network and ipc namespaces can be set.",
      )
    }
  }
  return sysctls
}

function device(value: Device | string): Required<Device> {
  const [path = '', second, third] =
    typeof value === 'string' ? value.split(':') : [value.path, value.target, value.access]
  const target = second?.startsWith('/') ? second : path
  const access = third ?? (second !== undefined && !second.startsWith('/') ? second : 'rwm')
  if (!text('devices', path).startsWith('/'))
    throw invalid('devices', `needs an absolute path, not ${JSON.stringify(path)}`)
  if (!/^[rwm]{1,3}$/.test(access))
    throw invalid('devices', `has access ${JSON.stringify(access)}`, 'Use letters of "rwm".')
  return { path, target, access }
}

function hostLines(hosts: Record<string, string> | readonly string[]) {
  const entries: [string, string][] = Array.isArray(hosts)
    ? hosts.map((line: string) => {
        const at = line.search(/[:=]/)
        return [line.slice(0, at), line.slice(at + 1)]
      })
    : Object.entries(hosts)
  return entries.map(([name, address]) => {
    if (hostName('extraHosts', name) === undefined || isIP(address) === 0) {
      throw invalid(
        'extraHosts',
        `has ${JSON.stringify(address)} for ${name}, which is not an IP address`,
      )
    }
    return { name, address }
  })
}

function addresses(list: readonly string[] | undefined): string[] | undefined {
  for (const address of list ?? []) {
    if (isIP(address) === 0)
      throw invalid('dns', `has ${JSON.stringify(address)}, which is not an IP address`)
  }
  return list === undefined ? undefined : [...list]
}

function oneOf<T extends string>(option: string, value: T, accepted: readonly T[]): T {
  if (accepted.includes(value)) return value
  throw invalid(option, `cannot be ${JSON.stringify(value)}`, `Use ${accepted.join(' or ')}.`)
}

function invalid(option: string, complaint: string, hint?: string) {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ${option} ${complaint}.`, {
    option,
    hint,
  })
}
