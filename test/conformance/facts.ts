/** Configurations of the runtime specification as flat facts, so that two of them can be compared piece by piece. */

import type { DeviceRule } from '../../src/security/devices.ts'
import type { SeccompArgument } from '../../src/security/seccomp/types.ts'

/** What the specification calls `config.json`, as far as facts are made of it. */
export interface RuntimeConfig {
  process: {
    user: { uid: number; gid: number; additionalGids?: number[] }
    args: string[]
    env: string[]
    cwd: string
    capabilities?: Record<string, string[]>
    rlimits?: { type: string; soft: number; hard: number }[]
    noNewPrivileges?: boolean
    apparmorProfile?: string
    oomScoreAdj?: number
    terminal?: boolean
  }
  root: { readonly?: boolean }
  hostname?: string
  domainname?: string
  mounts: { destination: string; type: string; source: string; options?: string[] }[]
  linux: {
    namespaces: { type: string; path?: string }[]
    devices?: { path: string; type: string; major: number; minor: number; fileMode?: number }[]
    sysctl?: Record<string, string>
    resources?: Record<string, unknown>
    seccomp?: {
      defaultAction: string
      architectures?: string[]
      syscalls: { names: string[]; action: string; errnoRet?: number; args?: SeccompArgument[] }[]
    }
    rootfsPropagation?: string
    maskedPaths?: string[]
    readonlyPaths?: string[]
  }
}

export type Facts = Record<string, string>

/** Files of a container's own whose place is the engine's affair. */
const OWN_FILES = new Set(['/etc/hosts', '/etc/hostname', '/etc/resolv.conf', '/dev/shm'])

/**
 * Where the specification lets two ways of writing mean the same (an absent list and an empty one, the order of capabilities), both
 * become one fact.
 *
 * @param ownId the container's id, which stands for itself as `<id>`
 */
export function facts(
  { process, root, mounts, linux, ...rest }: RuntimeConfig,
  ownId: string,
): Facts {
  const found: Facts = {}
  const short = ownId.slice(0, 12)
  const add = (key: string, value: unknown) => {
    if (value === undefined || value === null || value === '') return
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    found[key] = text.replaceAll(ownId, '<id>').replaceAll(short, '<id>')
  }

  add('args', process.args)
  for (const line of process.env) add(`env ${line.slice(0, line.indexOf('='))}`, line)
  add('cwd', process.cwd)
  add('user', `${process.user.uid}:${process.user.gid}`)
  add('groups', sorted(process.user.additionalGids))
  for (const [set, names] of Object.entries(process.capabilities ?? {})) {
    for (const name of names) add(`${set} ${name}`, 'yes')
  }
  for (const { type, soft, hard } of process.rlimits ?? []) {
    add(type, [soft, hard].map(limit).join(':'))
  }
  add('noNewPrivileges', process.noNewPrivileges ?? false)
  add('apparmor', process.apparmorProfile)
  add('oomScoreAdj', process.oomScoreAdj)
  add('terminal', process.terminal ?? false)
  add('root', (root.readonly ?? false) ? 'ro' : 'rw')
  add('hostname', rest.hostname)
  add('domainname', rest.domainname)

  for (const [index, mount] of mounts.entries()) {
    const { destination, type, source } = mount
    const from = type === 'bind' && !OWN_FILES.has(destination) ? ` ${source}` : ''
    add(`mount ${destination}`, `${type}${from} ${mountOptions(mount).join(',')}`)
    // Which of two strangers comes first makes no difference.
    const below = mounts.slice(0, index).filter((other) => isWithin(destination, other.destination))
    add(`mount ${destination} upon`, below.map((other) => other.destination).join(' '))
  }
  for (const { type, path } of linux.namespaces) {
    add(`namespace ${type}`, path === undefined ? 'new' : 'joined')
  }
  for (const { path, type, major, minor, fileMode = 0 } of linux.devices ?? []) {
    add(`device ${path}`, `${type} ${major}:${minor} ${(fileMode & 0o777).toString(8)}`)
  }
  for (const [name, value] of Object.entries(linux.sysctl ?? {})) add(`sysctl ${name}`, value)
  for (const [name, value] of Object.entries(resourceFacts(linux.resources ?? {}))) add(name, value)
  for (const path of linux.maskedPaths ?? []) add(`masked ${path}`, 'masked')
  for (const path of linux.readonlyPaths ?? []) add(`read-only ${path}`, 'read-only')
  add('rootfsPropagation', linux.rootfsPropagation)
  for (const [name, value] of Object.entries(seccompFacts(linux.seccomp))) add(name, value)
  return found
}

/** Both write RLIM_INFINITY, which JavaScript cannot hold, as well as they can. */
function limit(value: number): string {
  return value >= 2 ** 63 ? 'unlimited' : String(value)
}

/** `rw` is what is without it; a new file system has no peers that it would have to be kept from. */
function mountOptions({ type, options = [] }: RuntimeConfig['mounts'][number]): string[] {
  const idle = type === 'bind' ? ['rw'] : ['rw', 'rprivate']
  return sorted(options.filter((option) => !idle.includes(option)).map(inBytes))
}

function inBytes(option: string): string {
  const [, number, unit = ''] = /^size=(\d+)([kmg]?)$/.exec(option) ?? []
  const scale = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 }[unit] ?? Number.NaN
  return number === undefined ? option : `size=${Number(number) * scale}`
}

function isWithin(path: string, directory: string): boolean {
  return path.startsWith(`${directory}/`)
}

/** A zero is no limit, and a weight of zero the default. */
function resourceFacts(resources: Record<string, unknown>): Facts {
  const { devices, ...limits } = resources as { devices?: DeviceRule[] } & Record<string, object>
  const found: Facts = {}
  if (devices !== undefined) found['device rules'] = devices.map(ruleText).join('; ')
  for (const [group, values] of Object.entries(limits)) {
    for (const [name, value] of Object.entries(values)) {
      if (value === 0 || value === false) continue
      found[`${group} ${name}`] = String(value)
    }
  }
  return found
}

function ruleText({ allow, type, major, minor, access }: DeviceRule): string {
  const which = major === undefined ? 'all' : `${type} ${major}:${minor}`
  return `${allow ? '+' : '-'}${which} ${access}`
}

/** The files of /etc: who is named, and who is asked for names. */
export function etcFacts(
  files: { hosts: string; hostname: string; resolvConf: string },
  id: string,
): Facts {
  const found: Facts = { '/etc/hostname': files.hostname.trim() }
  for (const line of files.hosts.split('\n')) {
    const [address, ...names] = line.split(/\s+/).filter((word) => word !== '')
    for (const name of names) found[`/etc/hosts ${name} ${address}`] = 'yes'
  }
  for (const line of files.resolvConf.split('\n').filter((each) => each !== '')) {
    found[`/etc/resolv.conf ${line}`] = 'yes'
  }
  const short = id.slice(0, 12)
  return Object.fromEntries(
    Object.entries(found).map((pair) => pair.map((text) => text.replaceAll(short, '<id>'))),
  )
}

/** What happens to each system call: the alternatives of its rules, in any order. */
function seccompFacts(seccomp: RuntimeConfig['linux']['seccomp']): Facts {
  if (seccomp === undefined) return { seccomp: 'none' }
  const calls = new Map<string, Set<string>>()
  for (const { names, action, errnoRet, args = [] } of seccomp.syscalls) {
    const when = args.length === 0 ? '' : ` when ${JSON.stringify(args.map(condition))}`
    const rule = `${action}${errnoRet === undefined ? '' : ` ${errnoRet}`}${when}`
    for (const name of names) calls.set(name, (calls.get(name) ?? new Set()).add(rule))
  }
  return {
    seccomp: seccomp.defaultAction,
    'seccomp architectures': sorted(seccomp.architectures).join(' '),
    ...Object.fromEntries(
      [...calls].map(([name, rules]) => [`syscall ${name}`, sorted([...rules]).join(' or ')]),
    ),
  }
}

function condition(argument: SeccompArgument): string {
  const { index, value, valueTwo = 0, op } = argument
  return `${index} ${op} ${value} ${valueTwo}`
}

function sorted<T>(list: readonly T[] = []): T[] {
  return list.toSorted((a, b) => (a < b ? -1 : 1))
}
