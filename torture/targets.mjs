import { readdirSync, readFileSync } from 'node:fs'

/**
 * What can be killed, by what it is. Meant for a pid namespace that has nothing else in it.
 *
 * @param {number} program a Node process that has an engine
 * @returns {Record<'launcher' | 'worker' | 'monitor' | 'init' | 'process', number[]>} `worker`: of the program's launcher, its remover among
 *   them; `init`: process 1 of any container; `process`: another one in any container, of an exec for one
 */
export function targets(program) {
  const found = { launcher: [], worker: [], monitor: [], init: [], process: [] }
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap(describe)
  const launchers = new Set(all.filter(({ parent }) => parent === program).map(({ pid }) => pid))
  for (const { pid, parent, name, inner } of all) {
    if (inner === 1) found.init.push(pid)
    else if (inner !== undefined) found.process.push(pid)
    else if (launchers.has(pid)) found.launcher.push(pid)
    else if (launchers.has(parent)) found.worker.push(pid)
    else if (name === 'keelson-monitor') found.monitor.push(pid)
  }
  return found
}

/** Whether the process is one of a container, or a monitor: they may outlive their program. */
export function outlives(pid) {
  return describe(pid).some(({ name, inner }) => inner !== undefined || name === 'keelson-monitor')
}

function describe(pid) {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const field = (name) => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1] ?? ''
    // As each pid namespace has it, from this one inwards.
    const [, inner] = field('NSpid').split('\t').map(Number)
    return [{ pid: Number(pid), parent: Number(field('PPid')), name: field('Name'), inner }]
  } catch {
    return []
  }
}
