import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { random } from './random.mjs'
import { targets } from './targets.mjs'

const VICTIM = fileURLToPath(new URL('victim.mjs', import.meta.url))
const PROGRAMS = 3
/** Longest time from the opening of an engine to the end of its program: some dozens of operations. */
const LONGEST_MS = 500
/** Most that are killed of a program's before it is. */
const SMALL_KILLS = 3

/**
 * One round: programs at work on one root, and kills at random moments, each program's own at last.
 *
 * @param {number} seed decides all that chance decides
 * @param {string[]} spared processes
 * @param {Record<string, number>} kills counts them
 * @returns {Promise<string[]>} what the programs complained of
 */
export async function torment({ root, runRoot }, reference, seed, spared, kills) {
  const { below, pick } = random(seed)
  const programs = Array.from({ length: PROGRAMS }, (_, n) =>
    spawn(process.execPath, [VICTIM, root, runRoot, reference, `${seed * 7 + n}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )
  const complaints = []
  for (const program of programs) {
    program.stderr.setEncoding('utf8').on('data', (text) => complaints.push(text.trim()))
  }
  const strike = (kind, pids) => {
    const possible = pids.filter((pid) => !spared.includes(pid))
    if (possible.length === 0) return
    try {
      process.kill(pick(possible), 'SIGKILL')
      kills[kind] = (kills[kind] ?? 0) + 1
    } catch (error) {
      if (error.code !== 'ESRCH') throw error
    }
  }
  const ended = programs.map((program) => once(program, 'close'))
  await Promise.all(
    programs.map(async (program, n) => {
      await Promise.race([once(program.stdout, 'data'), ended[n]])
      const small = below(SMALL_KILLS + 1)
      for (let left = small; left > 0; left--) {
        await pause(below(LONGEST_MS / (small + 1)))
        const kind = pick(['monitor', 'monitor', 'init', 'process', 'worker'])
        strike(kind, targets(program.pid)[kind])
      }
      await pause(below(LONGEST_MS / (small + 1)))
      // Some of them see their launcher die before they do; with some, everybody goes who could clean up.
      const last = below(4)
      const found = targets(program.pid)
      if (last === 0) {
        strike('launcher', found.launcher)
        await pause(below(20))
      }
      if (last === 1) {
        for (const kind of ['launcher', 'worker', 'monitor']) {
          for (const pid of found[kind]) strike(kind, [pid])
        }
      }
      strike('node', [program.pid])
    }),
  )
  await Promise.all(ended)
  return complaints
}
