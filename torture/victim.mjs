// A program that uses an engine as hard as it can until it is killed: node torture/victim.mjs ROOT RUNROOT REFERENCE SEED
import { NAME as BYSTANDER } from './bystander.mjs'
import { random } from './random.mjs'
import { containerWork } from './operations/containers.mjs'
import { imageWork } from './operations/images.mjs'
import { networkWork } from './operations/networks.mjs'
import { volumeWork } from './operations/volumes.mjs'
import { Engine } from '../dist/index.js'

const [root, runRoot, reference, seed] = process.argv.slice(2)
const { below, pick } = random(Number(seed))

/** Other programs remove, rename and start what this one has just found, and want the same names and ports: that is no failure. */
const EXPECTED = new Set([
  'KEELSON_ABORTED',
  'KEELSON_CONNECTION_REFUSED',
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
  // Nobody reads what a container that has ended wrote in memory.
  'KEELSON_UNSUPPORTED',
  'KEELSON_VOLUME_IN_USE',
  'KEELSON_VOLUME_NOT_FOUND',
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
/** A container of whoever it is, but for those by which it is seen that others do not suffer. */
const some = async () => {
  const all = await engine.containers.list({ all: true })
  return pick(all.filter(({ labels }) => labels[BYSTANDER] === undefined))
}
const context = { engine, reference, below, pick, some }
const { network, work: networks } = networkWork(context)
const { mounts, work: volumes } = volumeWork(context)
const containers = containerWork({ ...context, network, mounts })
const KINDS = [imageWork(context), containers, containers, containers, networks, volumes]
let inVain = 0

process.stdout.write('open\n')
await Promise.all(Array.from({ length: 4 }, toil))

async function toil() {
  for (;;) {
    const kind = pick(KINDS)
    // Most of what is done is done with containers.
    const name = kind === containers && below(4) === 0 ? 'containerRun' : pick(Object.keys(kind))
    try {
      await kind[name]()
      inVain = 0
    } catch (error) {
      if (EXPECTED.has(error.code)) continue
      if (!KILLED.has(error.code)) {
        // Without its launcher a program has lost its locks: whatever fails then is no wonder.
        if (await isOver()) process.exit(1)
        process.stderr.write(`unexpected in ${name}: ${describe(error)}\n`)
        process.exit(1)
      }
      if (++inVain > HOPELESS) process.exit(1)
    }
  }
}

/** Whether its launcher is gone. */
async function isOver() {
  return await engine.networks.create({ name: 'default' }).then(
    () => false,
    ({ code }) => code === 'KEELSON_HELPER_FAILED',
  )
}

function describe(error) {
  const causes = [error.cause, ...(error.errors ?? [])].filter(Boolean).map(describe)
  return [`${error.code ?? ''} ${error.stack ?? error}`, ...causes].join('\n  because of ')
}
