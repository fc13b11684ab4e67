/**
 * `npm run torture [-- --rounds N --seed N --sweep all|NAME,... --every N --strike NAME,...]`: programs that use engines on one root are killed, they,
 * their helpers, monitors and containers, and after every kill the next `Engine.open()` must leave nothing of them, and find everything
 * else whole: another program's containers among it, which is at work all the time.
 *
 * Rounds kill at random moments, which the seed decides; sweeps kill at each step of an operation, or at every n-th, the seed's among
 * them: the program that asks (node), its launcher, the monitors, or all of these at once.
 *
 * It runs in namespaces of its own, so that whatever is found there was left behind. The last line says how it went; the exit code too.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Owned } from '../scripts/owned.mjs'
import { Engine } from '../dist/index.js'
import { Registry } from '../dist/registry-server/index.js'
import { Aftermath } from './aftermath.mjs'
import { Bystander } from './bystander.mjs'
import { ContainerIds } from './ids.mjs'
import { torment } from './round.mjs'
import { sweep } from './sweep/sweep.mjs'

const OWN = 'KEELSON_TORTURE'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    seed: { type: 'string' },
    sweep: { type: 'string' },
    every: { type: 'string', default: '1' },
    strike: { type: 'string', default: 'node,launcher,monitor,all' },
  },
})
const seed = Number(values.seed ?? Date.now() % 1_000_000)
const rounds = Number(values.rounds ?? (values.sweep === undefined ? 100 : 0))

if (process.env[OWN] === undefined) {
  const options = ['--fork', '--kill-child', '--pid', '--mount', '--mount-proc', '--net']
  const command = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)]
  // The shell is process 1 there and reaps what has lost its parent, which Node would not.
  const init = ['/bin/sh', '-c', '"$0" "$@"; exit $?']
  const { status } = spawnSync('unshare', [...options, ...init, ...command], {
    stdio: 'inherit',
    env: { ...process.env, [OWN]: 'yes' },
  })
  process.exit(status ?? 1)
}

spawnSync('ip', ['link', 'set', 'lo', 'up'])
const owned = new Owned()
const directory = mkdtempSync('/var/tmp/keelson-torture-')
const runDirectory = mkdtempSync('/run/keelson-torture-')
try {
  const place = { root: join(directory, 'root'), runRoot: join(runDirectory, 'run') }
  const ids = owned.own(new ContainerIds(place))
  const reference = await serve()
  await untouched(place, reference)
  const bystander = owned.own(await Bystander.open(place))
  const aftermath = new Aftermath(place, reference, bystander, ids)
  const failures = [
    await sweeps(place, reference, aftermath),
    await allRounds(place, reference, aftermath),
  ]
  process.exitCode = failures.every((failed) => failed === 0) ? 0 : 1
} finally {
  await owned.dispose()
  rmSync(directory, { recursive: true, force: true })
  rmSync(runDirectory, { recursive: true, force: true })
}

async function sweeps(place, reference, aftermath) {
  if (values.sweep === undefined) return 0
  const only = values.sweep === 'all' ? [] : values.sweep.split(',')
  const options = {
    only,
    strikes: values.strike.split(','),
    every: Number(values.every),
    offset: seed,
    spared: aftermath.spared,
  }
  let strikes = 0
  let failed = 0
  await sweep(place, reference, options, async (strike, complaints) => {
    const problems = [...complaints, ...(await aftermath.check())]
    const name = `${strike.operation} (${strike.strike})`
    for (const problem of problems) {
      console.log(`${name} at step ${strike.step} (${strike.what}): ${problem}`)
    }
    strikes++
    if (problems.length > 0) failed++
    if (strike.last) console.log(`${name}: ${strike.step} steps`)
  })
  console.log(`${strikes - failed} of ${strikes} strikes left nothing behind`)
  return failed
}

async function allRounds(place, reference, aftermath) {
  if (rounds === 0) return 0
  console.log(`seed ${seed}, ${rounds} rounds`)
  const kills = {}
  let failed = 0
  for (let round = 0; round < rounds; round++) {
    const problems = [
      ...(await torment(place, reference, seed + round, aftermath.spared, kills)),
      ...(await aftermath.check()),
    ]
    for (const problem of problems) {
      console.log(`round ${round} (--seed ${seed + round}): ${problem}`)
    }
    if (problems.length > 0) failed++
  }
  console.log(`killed: ${figures(kills)}; found afterwards: ${figures(aftermath.survived)}`)
  console.log(`${rounds - failed} of ${rounds} rounds left nothing behind`)
  return failed
}

/** An image to pull, of several layers' worth of bytes, so that kills meet pulls half way. */
async function serve() {
  const layout = join(directory, 'source')
  const maker = await Engine.open({ root: layout, runRoot: join(runDirectory, 'source') })
  try {
    await maker.images.from(
      {
        '/bin/busybox': '/bin/busybox',
        '/bin/sh': { link: 'busybox' },
        '/bin/sleep': { link: 'busybox' },
        '/tmp': { directory: true },
      },
      {},
      { reference: 'localhost/torture:1' },
    )
  } finally {
    await maker.close()
  }
  const registry = owned.own(await Registry.listen({ layout: join(layout, 'content') }))
  return `${registry.host}/torture:1`
}

/** Once in peace: what it leaves (parents of cgroups) may be there ever after. */
async function untouched(place, reference) {
  const engine = await Engine.open(place)
  await engine.run(reference, ['/bin/busybox', 'true'])
  await engine.close()
}

function figures(counts) {
  return Object.entries(counts)
    .map(([name, n]) => `${n} ${name}`)
    .join(', ')
}
