// A program that uses an engine as hard as it can until it is killed: node torture/victim.mjs ROOT RUNROOT REFERENCE SEED
import { random } from './random.mjs'
import { Engine } from '../dist/index.js'

const [root, runRoot, reference, seed] = process.argv.slice(2)
const { below, pick } = random(Number(seed))

/** Each may find that another program has just removed what it needs: that is no failure of the engine. */
const EXPECTED = new Set(['KEELSON_IMAGE_NOT_FOUND', 'KEELSON_IMAGE_IN_USE', 'KEELSON_TIMEOUT'])

/** What it finds when its helper, a worker of that, or a container was killed: then it is over. */
const KILLED = new Set([
  'KEELSON_HELPER_FAILED',
  'KEELSON_KILLED',
  'KEELSON_ABORTED',
  'KEELSON_START_FAILED',
])

const WORK = {
  run: (engine) => engine.run(reference, ['/bin/busybox', 'true']),
  output: (engine) => engine.run(reference, ['/bin/busybox', 'seq', '5000']),
  timeout: (engine) =>
    engine.run(reference, ['/bin/busybox', 'sleep', '60'], { timeout: 1 + below(40) }),
  tree: (engine) =>
    engine.run(reference, ['/bin/busybox', 'sh', '-c', 'sleep 60 & sleep 60 & sleep 0.02'], {
      memory: '64m',
    }),
  pull: (engine) => engine.images.pull(reference, { policy: 'always' }),
  remove: async (engine) => (await engine.images.get(reference)).remove(),
  prune: (engine) => engine.images.prune(),
  make: (engine) => engine.images.from({ '/file': Buffer.from(String(below(1000))) }),
}

const engine = await Engine.open({ root, runRoot, onWarning: () => {} })
process.stdout.write('open\n')
await Promise.all(Array.from({ length: 3 }, work))

async function work() {
  for (;;) {
    const name = pick(Object.keys(WORK))
    try {
      await WORK[name](engine)
    } catch (error) {
      if (EXPECTED.has(error.code)) continue
      if (!KILLED.has(error.code)) {
        process.stderr.write(`unexpected in ${name}: ${error.stack}\n`)
      }
      process.exit(1)
    }
  }
}
