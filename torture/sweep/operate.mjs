// One operation, struck at one of its steps: node --import ./steps.mjs operate.mjs ROOT RUNROOT REFERENCE OPERATION STRIKE STEP SPARED...
import { arm, disarm } from './steps.mjs'
import { OPERATIONS } from './operations.mjs'
import { targets } from '../targets.mjs'
import { Engine } from '../../dist/index.js'

const [root, runRoot, reference, operation, strike, step, ...spared] = process.argv.slice(2)
const { prepare = () => undefined, act } = OPERATIONS[operation]

/** Who dies at the step. Those that leave this program alive let it find out; it is killed after that. */
const STRIKES = {
  node: () => process.kill(process.pid, 'SIGKILL'),
  launcher: () => kill(['launcher']),
  monitor: () => kill(['monitor']),
  /** Everybody who could clean up, the containers left alone. */
  all: () => {
    kill(['launcher', 'worker', 'monitor'])
    process.kill(process.pid, 'SIGKILL')
  },
}

const engine = await Engine.open({ root, runRoot, onWarning: () => {} })
const context = { engine, reference }
const state = await prepare(context)
let struck
arm((n, what) => {
  if (n !== Number(step)) return
  struck = what
  process.stdout.write(`${what}\n`)
  STRIKES[strike]()
})
try {
  await act(context, state)
  // The operation may have ended before its last step.
  if (operation !== 'close') await engine.containers.list()
} catch (error) {
  if (struck === undefined) {
    process.stderr.write(`${operation} failed: ${error.stack}\n${error.cause?.stack ?? ''}\n`)
  }
}
disarm()
if (struck === undefined) process.stdout.write('over\n')
process.kill(process.pid, 'SIGKILL')

function kill(kinds) {
  const found = targets(process.pid)
  for (const kind of kinds) {
    for (const pid of found[kind].filter((each) => !spared.includes(`${each}`))) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch (error) {
        if (error.code !== 'ESRCH') throw error
      }
    }
  }
}
