import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'

/**
 * @typedef {{ processes: Map<number, string>, mounts: Map<string, string>, cgroups: Set<string>, links: Set<string>, rules: Set<string>,
 *   ports: Set<string>, sockets: Set<string>, locks: Set<string> }} Host
 */

/**
 * What there is of all that an engine makes on a host. Meant for a process that has a pid namespace, a mount namespace and a network
 * namespace to itself: then what is not its own was left behind.
 *
 * @returns {Host}
 */
export function look() {
  return {
    processes: processes(),
    mounts: mounts(),
    cgroups: new Set(cgroupRoots().flatMap((root) => below(join(root, 'keelson')))),
    // As this process has them; /sys/class/net is whose it was that mounted it.
    links: new Set(
      lines('/proc/self/net/dev').flatMap((line) => /^ *([^ :]+):/.exec(line)?.[1] ?? []),
    ),
    rules: rules(),
    ports: new Set(['tcp', 'tcp6', 'udp', 'udp6'].flatMap(listening)),
    sockets: new Set(
      lines('/proc/self/net/unix').flatMap((line) => / (\/.*)$/.exec(line)?.[1] ?? []),
    ),
    locks: new Set(
      lines('/proc/locks')
        .filter(ownedHere)
        .map((line) => line.replace(/^\d+: /, '')),
    ),
  }
}

/** By number, with their command lines. */
export function processes() {
  return new Map(readdirSync('/proc').filter(isNumber).flatMap(describe))
}

/**
 * Processes of `after` that were not there before, and are not children of those that were: these have work for others.
 *
 * @param {Map<number, string>} before
 * @param {Map<number, string>} after
 */
export function strangers(before, after) {
  return [...after].filter(([pid]) => {
    if (before.has(pid)) return false
    const parent = parentOf(pid)
    return parent <= 1 || !before.has(parent)
  })
}

/**
 * What is in `after` and was not in `before`, one sentence each.
 *
 * @param {Host} before
 * @param {Host} after
 * @param {(container: string) => boolean} isOurs cgroups have no namespace here, and other engines of this host have theirs beside them
 */
export function remains(before, after, isOurs) {
  const left = strangers(before.processes, after.processes).map(
    ([pid, command]) => `process ${pid} (${command})${waitsIn(pid)}`,
  )
  for (const [id, path] of after.mounts) {
    if (!before.mounts.has(id)) left.push(`mount ${path}`)
  }
  for (const kind of ['cgroups', 'links', 'rules', 'ports', 'sockets', 'locks']) {
    for (const each of after[kind]) {
      if (kind === 'cgroups' && !isOurs(basename(each))) continue
      if (!before[kind].has(each)) left.push(`${kind.slice(0, -1)} ${each}`)
    }
  }
  return left
}

/** Paths by the kernel's numbers: the host's own directories may get other names meanwhile. */
function mounts() {
  return new Map(
    lines('/proc/self/mountinfo').map((line) => {
      const [id, , , , path] = line.split(' ')
      return [id, path]
    }),
  )
}

/** Everything in the firewall, of all tables. */
function rules() {
  const { stdout } = spawnSync('nft', ['--json', 'list', 'ruleset'], { encoding: 'utf8' })
  const { nftables } = JSON.parse(stdout)
  return new Set(
    nftables.flatMap((each) => {
      const { elem = [], ...set } = each.set ?? each.map ?? {}
      const elements = elem.map((element) => `element of ${set.name}: ${JSON.stringify(element)}`)
      return each.metainfo === undefined ? [plain(each), ...elements] : []
    }),
  )
}

/** Without numbers that change with each making, and without what sets hold. */
function plain(object) {
  return JSON.stringify(object, (key, value) =>
    key === 'handle' || key === 'elem' ? undefined : value,
  )
}

/** Ports that somebody listens at, or is bound to. */
function listening(protocol) {
  return lines(`/proc/self/net/${protocol}`)
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state]) => protocol.startsWith('udp') || state === LISTEN)
    .map(([, local]) => `${protocol} ${local}`)
}

const LISTEN = '0A'

/** For who wonders why it has not ended. */
function waitsIn(pid) {
  const read = (name) => {
    try {
      return readFileSync(`/proc/${pid}/${name}`, 'utf8').trim().replaceAll('\n', ' ')
    } catch {
      return '?'
    }
  }
  return `: child of ${parentOf(pid)}, system call ${read('syscall')}, in ${read('stack')}, ${descriptors(pid)}`
}

/** 0 for one that is gone. */
function parentOf(pid) {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

function descriptors(pid) {
  try {
    const directory = `/proc/${pid}/fd`
    return readdirSync(directory)
      .map((fd) => `${fd}=${readlinkSync(join(directory, fd))}`)
      .join(' ')
  } catch {
    return 'no descriptors'
  }
}

/** Kernel threads and zombies have no command line. */
function describe(pid) {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    const state = /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return [[Number(pid), state === 'Z' ? `zombie ${command}` : command]]
  } catch {
    return []
  }
}

/** Locks are shown with the holder's number in this pid namespace, 0 for others. */
function ownedHere(line) {
  return Number(line.trim().split(/\s+/)[4]) > 0
}

function cgroupRoots() {
  return lines('/proc/self/mountinfo')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4])
}

function below(directory) {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && /^[0-9a-f]{64}$/.test(entry.name))
      .map((entry) => join(directory, entry.name))
  } catch {
    return []
  }
}

/** Whether the process is one of ours that is still there. */
export function alive(pid) {
  try {
    readlinkSync(`/proc/${pid}/exe`)
    return true
  } catch {
    return false
  }
}

function lines(path) {
  return readFileSync(path, 'utf8').split('\n').filter(Boolean)
}

function isNumber(text) {
  return /^\d+$/.test(text)
}
