import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { OPERATIONS } from './operations.mjs'

const file = (name) => fileURLToPath(new URL(name, import.meta.url))

/**
 * Every operation struck at each of its steps, one strike a program: `work` says what is to be done between.
 *
 * @param {{ root: string, runRoot: string }} place
 * @param {{ only: string[], strikes: string[], every: number, offset: number, spared: number[] }} options `only`: operations, none for
 *   all; `every`: so many steps from one strike to the next
 * @param {(name: string, problems: string[]) => Promise<void>} after called after each strike
 */
export async function sweep(place, reference, { only, strikes, every, offset, spared }, after) {
  for (const [operation, { strikes: possible }] of Object.entries(OPERATIONS)) {
    if (only.length > 0 && !only.includes(operation)) continue
    for (const strike of possible.filter((each) => strikes.includes(each))) {
      for (let step = 1 + (offset % every); ; step += every) {
        const { what, complaints } = await struck(place, reference, {
          operation,
          strike,
          step,
          spared,
        })
        const last = what === 'over' || what === ''
        await after({ operation, strike, step, what, last }, complaints)
        if (last) break
      }
    }
  }
}

async function struck({ root, runRoot }, reference, { operation, strike, step, spared }) {
  const program = spawn(
    process.execPath,
    ['--import', file('steps.mjs'), file('operate.mjs')].concat(
      [root, runRoot, reference, operation, strike, `${step}`],
      spared.map(String),
    ),
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const [what, complaints] = await Promise.all([
    text(program.stdout),
    text(program.stderr),
    once(program, 'close'),
  ])
  return { what: what.trim(), complaints: complaints === '' ? [] : [complaints.trim()] }
}
