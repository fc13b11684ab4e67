// A program that uses an engine as hard as it can until it is killed: node torture/victim.mjs ROOT RUNROOT REFERENCE SEED
import { random } from './random.mjs'
import { containerWork } from './work/containers.mjs'
import { imageWork } from './work/images.mjs'
import { networkWork } from './work/networks.mjs'
import { Engine } from '../dist/index.js'

const [root, runRoot, reference, seed] = process.argv.slice(2)
const { below, pick } = random(Number(seed))

/** Other programs remove, rename and start what this one has just found, and want the same names and ports: that is no failure. */
const EXPECTED = new Set([
  'KEELSON_ABORTED',
  'KEELSON_CONTAINER_NOT_FOUND',
  'KEELSON_CONTAINER_STATE',
  'KEELSON_EXIT_CODE',
  'KEELSON_IMAGE_IN_USE',
  'KEELSON_IMAGE_NOT_FOUND',
  'KEELSON_NAME_IN_USE',
  'KEELSON_NETWORK_CONNECTED',
  'KEELSON_NETWORK_IN_USE',
  'KEELSON_NETWORK_MODE',
  'KEELSON_NETWORK_NOT_CONNECTED',
  'KEELSON_NETWORK_NOT_FOUND',
  'KEELSON_PORT_IN_USE',
  'KEELSON_TIMEOUT',
])

/** What it finds when a monitor, a worker, or a container's process was killed. */
const KILLED = new Set([
  // The monitor was what was killed, while it was asked.
  'KEELSON_CLOSED',
  'KEELSON_HELPER_FAILED',
  'KEELSON_KILLED',
  'KEELSON_START_FAILED',
])

/** So many in a row: its launcher is gone, and it is over. */
const HOPELESS = 20

const engine = await Engine.open({ root, runRoot, onWarning: () => {} })
const context = { engine, reference, below, pick }
const { network, work: networks } = networkWork(context)
const KINDS = [imageWork(context), containerWork({ ...context, network }), networks]
let inVain = 0

process.stdout.write('open\n')
await Promise.all(Array.from({ length: 4 }, toil))

async function toil() {
  for (;;) {
    const kind = pick([KINDS[0], KINDS[1], KINDS[1], KINDS[1], KINDS[2]])
    // Containers first: most of what is done is done with them.
    const name = kind === KINDS[1] && below(4) === 0 ? 'containerRun' : pick(Object.keys(kind))
    try {
      await kind[name]()
      inVain = 0
    } catch (error) {
      if (EXPECTED.has(error.code)) continue
      if (!KILLED.has(error.code)) {
        process.stderr.write(`unexpected in ${name}: ${describe(error)}\n`)
        process.exit(1)
      }
      if (++inVain > HOPELESS) process.exit(1)
    }
  }
}

function describe(error) {
  const causes = [error.cause, ...(error.errors ?? [])].filter(Boolean).map(describe)
  return [`${error.code ?? ''} ${error.stack ?? error}`, ...causes].join('\n  because of ')
}
