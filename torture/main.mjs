/**
 * `npm run torture [-- --rounds N --seed N]`: programs that use engines on one root are killed at random moments, they, their
 * helpers, monitors and containers, and after every round the next `Engine.open()` must leave nothing of them, and find everything else whole.
 *
 * It runs in namespaces of its own, so that whatever is found there was left behind. The last line says how it went; the exit code too.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Owned } from '../scripts/owned.mjs'
import { Engine } from '../dist/index.js'
import { Registry } from '../dist/registry-server/index.js'
import { alive, look, remains } from './host.mjs'
import { ContainerIds } from './ids.mjs'
import { random } from './random.mjs'
import { wrong } from './root.mjs'
import { checkSurvivors } from './survivors.mjs'
import { outlives, targets } from './targets.mjs'

const OWN = 'KEELSON_TORTURE'
const VICTIM = fileURLToPath(new URL('victim.mjs', import.meta.url))
const PROGRAMS = 3
/** Longest time from the opening of an engine to the end of its program: some dozens of operations. */
const LONGEST_MS = 500
/** Most that are killed of a program's before it is. */
const SMALL_KILLS = 3
/** What may be done with what a round has left. */
const PATIENCE_MS = 60_000

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '100' }, seed: { type: 'string' } },
})
const rounds = Number(values.rounds)
const seed = Number(values.seed ?? Date.now() % 1_000_000)

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
const kills = {}
const survived = {}
const owned = new Owned()
const directory = mkdtempSync('/var/tmp/keelson-torture-')
const runDirectory = mkdtempSync('/run/keelson-torture-')
try {
  const place = { root: join(directory, 'root'), runRoot: join(runDirectory, 'run') }
  const ids = owned.own(new ContainerIds(place))
  const reference = await serve()
  await untouched(place, reference)
  const before = look()
  console.log(`seed ${seed}, ${rounds} rounds`)
  let failed = 0
  for (let round = 0; round < rounds; round++) {
    const problems = [
      ...(await torment(place, reference, seed + round)),
      ...(await inTime(afterwards(place, reference, before, ids))),
    ]
    for (const problem of problems)
      console.log(`round ${round} (--seed ${seed + round}): ${problem}`)
    if (problems.length > 0) failed++
  }
  console.log(`killed: ${figures(kills)}; found afterwards: ${figures(survived)}`)
  console.log(`${rounds - failed} of ${rounds} rounds left nothing behind`)
  process.exitCode = failed === 0 ? 0 : 1
} finally {
  await owned.dispose()
  rmSync(directory, { recursive: true, force: true })
  rmSync(runDirectory, { recursive: true, force: true })
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

/** One round: programs at work, and one kill each. @returns what they complained of */
async function torment(place, reference, own) {
  const { below, pick } = random(own)
  const programs = Array.from({ length: PROGRAMS }, (_, n) =>
    spawn(process.execPath, [VICTIM, place.root, place.runRoot, reference, `${own * 7 + n}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )
  const complaints = []
  for (const program of programs) {
    program.stderr.setEncoding('utf8').on('data', (text) => complaints.push(text.trim()))
  }
  const ended = programs.map((program) => once(program, 'close'))
  await Promise.all(
    programs.map(async (program, n) => {
      await Promise.race([once(program.stdout, 'data'), ended[n]])
      const small = below(SMALL_KILLS + 1)
      for (let left = small; left > 0; left--) {
        await pause(below(LONGEST_MS / (small + 1)))
        const kind = pick(['monitor', 'monitor', 'init', 'process', 'worker'])
        strike(kind, targets(program.pid)[kind], pick)
      }
      await pause(below(LONGEST_MS / (small + 1)))
      // Some of them see their launcher die before they do.
      if (below(3) === 0) {
        strike('launcher', targets(program.pid).launcher, pick)
        await pause(below(20))
      }
      strike('node', [program.pid], pick)
    }),
  )
  await Promise.all(ended)
  return complaints
}

function strike(kind, pids, pick) {
  if (pids.length === 0) return
  try {
    process.kill(pick(pids), 'SIGKILL')
    kills[kind] = (kills[kind] ?? 0) + 1
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

/** Opens an engine, uses it, closes it. @returns what is left or wrong then */
async function afterwards(place, reference, before, ids) {
  const problems = []
  await quiet(before)
  ids.look()
  try {
    const engine = await Engine.open(place)
    try {
      await engine.run(reference, ['/bin/busybox', 'true'])
      const { problems: found, survivors } = await checkSurvivors(engine, reference)
      problems.push(...found)
      for (const [state, n] of Object.entries(survivors))
        survived[state] = (survived[state] ?? 0) + n
    } finally {
      await engine.close()
    }
  } catch (error) {
    return [...problems, `the next engine failed: ${error.stack}`]
  }
  problems.push(...(await lasting(before, ids)))
  return [...problems, ...(await wrong(place.root, place.runRoot))]
}

async function inTime(work) {
  const timer = new AbortController()
  const late = pause(PATIENCE_MS, undefined, { signal: timer.signal }).then(
    () => ['what was left cannot be dealt with: it hangs'],
    () => [],
  )
  const problems = await Promise.race([work, late])
  timer.abort()
  return problems
}

function figures(counts) {
  return Object.entries(counts)
    .map(([name, n]) => `${n} ${name}`)
    .join(', ')
}

/** What a network namespace or a cgroup leaves to the kernel takes a moment. */
async function lasting(before, ids) {
  ids.look()
  const isOurs = (id) => ids.has(id)
  let left = remains(before, look(), isOurs)
  for (let tries = 0; tries < 100 && left.length > 0; tries++) {
    await pause(30)
    const now = new Set(remains(before, look(), isOurs))
    left = left.filter((each) => now.has(each))
  }
  return left
}

/** Helpers that have lost their program clean up by themselves; what they do not end, the next engine would wait for. */
async function quiet(before) {
  for (let tries = 0; tries < 500; tries++) {
    const left = [...look().processes.keys()].filter(
      (pid) => !before.processes.has(pid) && !outlives(pid),
    )
    if (!left.some((pid) => alive(pid))) return
    await pause(10)
  }
}
