import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'

/** @typedef {{ processes: Map<number, string>, mounts: Set<string>, cgroups: Set<string>, links: Set<string>, rules: Set<string>, locks: Set<string> }} Host */

/**
 * What there is of all that an engine makes on a host. Meant for a process that has a pid namespace, a mount namespace and a network
 * namespace to itself: then what is not its own was left behind.
 *
 * @returns {Host}
 */
export function look() {
  return {
    processes: new Map(readdirSync('/proc').filter(isNumber).flatMap(describe)),
    mounts: new Set(lines('/proc/self/mountinfo').map((line) => line.split(' ')[4])),
    cgroups: new Set(cgroupRoots().flatMap((root) => below(join(root, 'keelson')))),
    // As this process has them; /sys/class/net is whose it was that mounted it.
    links: new Set(
      lines('/proc/self/net/dev').flatMap((line) => /^ *([^ :]+):/.exec(line)?.[1] ?? []),
    ),
    rules: elements(),
    locks: new Set(lines('/proc/locks').filter((line) => ownedHere(line))),
  }
}

/**
 * What is in `after` and was not in `before`, one sentence each.
 *
 * @param {Host} before
 * @param {Host} after
 * @param {(container: string) => boolean} isOurs cgroups have no namespace here, and other engines of this host have theirs beside them
 */
export function remains(before, after, isOurs) {
  const left = []
  for (const [pid, command] of after.processes) {
    if (!before.processes.has(pid)) left.push(`process ${pid} (${command})`)
  }
  for (const kind of ['mounts', 'cgroups', 'links', 'rules', 'locks']) {
    for (const each of after[kind]) {
      if (kind === 'cgroups' && !isOurs(basename(each))) continue
      if (!before[kind].has(each)) left.push(`${kind.slice(0, -1)} ${each}`)
    }
  }
  return left
}

/** What is in the sets and maps of the firewall's table. The table and its rules stay, and are the same for all. */
function elements() {
  const { stdout } = spawnSync('nft', ['--json', 'list', 'ruleset'], { encoding: 'utf8' })
  const { nftables } = JSON.parse(stdout)
  return new Set(
    nftables.flatMap((each) => {
      const set = each.set ?? each.map
      return (set?.elem ?? []).map((element) => `${set.name} ${JSON.stringify(element)}`)
    }),
  )
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
