import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** @typedef {{ processes: Map<number, string>, mounts: Set<string>, cgroups: Set<string>, links: Set<string>, locks: Set<string> }} Host */

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
    links: new Set(readdirSync('/sys/class/net')),
    locks: new Set(lines('/proc/locks').filter((line) => ownedHere(line))),
  }
}

/**
 * What is in `after` and was not in `before`, one sentence each.
 *
 * @param {Host} before
 * @param {Host} after
 */
export function remains(before, after) {
  const left = []
  for (const [pid, command] of after.processes) {
    if (!before.processes.has(pid)) left.push(`process ${pid} (${command})`)
  }
  for (const kind of ['mounts', 'cgroups', 'links', 'locks']) {
    for (const each of after[kind]) {
      if (!before[kind].has(each)) left.push(`${kind.slice(0, -1)} ${each}`)
    }
  }
  return left
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

/** @param {number} pid @returns {number[]} its descendants, as far as they can still be found by their parents */
export function descendants(pid) {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return children
      .split(' ')
      .filter(isNumber)
      .flatMap((child) => [Number(child), ...descendants(Number(child))])
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
