import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Engine } from '../dist/index.js'
import { alive, look, processes, remains, strangers } from './host.mjs'
import { claims, wrong } from './root.mjs'
import { checkSurvivors } from './survivors.mjs'
import { outlives } from './targets.mjs'

/** What may be done with what the kills have left. */
const PATIENCE_MS = 60_000
/** For helpers that have lost their program, to clean up by themselves. */
const QUIET_MS = 5000
/** For what the kernel takes down behind everybody's back. */
const LASTING_MS = 3000

/** What is found after kills: the next engine has to put everything right. */
export class Aftermath {
  /** What there was to be removed of each kind. */
  survived = {}
  #place
  #reference
  #bystander
  #ids
  #before

  constructor(place, reference, bystander, ids) {
    this.#place = place
    this.#reference = reference
    this.#bystander = bystander
    this.#ids = ids
    this.#before = look()
  }

  /** Processes that are nobody's business. */
  get spared() {
    return [...this.#before.processes.keys()]
  }

  /** Opens an engine, uses it, closes it. @returns what is left or wrong then, one sentence each */
  async check() {
    const timer = new AbortController()
    const late = pause(PATIENCE_MS, undefined, { signal: timer.signal }).then(
      () => ['what was left cannot be dealt with: it hangs'],
      () => [],
    )
    const problems = await Promise.race([this.#check(), late])
    timer.abort()
    return problems
  }

  async #check() {
    const problems = []
    const spared = (idOrName) => this.#bystander.has(idOrName)
    await this.#quiet()
    this.#ids.look()
    try {
      const engine = await Engine.open(this.#place)
      try {
        problems.push(...(await this.#claims(engine)))
        await engine.run(this.#reference, ['/bin/busybox', 'true'])
        const found = await checkSurvivors(engine, this.#reference, spared)
        problems.push(...found.problems)
        for (const [kind, n] of Object.entries(found.survivors)) {
          this.survived[kind] = (this.survived[kind] ?? 0) + n
        }
      } finally {
        await engine.close()
      }
    } catch (error) {
      return [...problems, `the next engine failed: ${describe(error)}`]
    }
    // What removes itself while nobody looks leaves its name to the next.
    await (await Engine.open(this.#place)).close()
    const left = await this.#lasting()
    problems.push(...left, ...(await wrong(this.#place, spared)))
    problems.push(...(await this.#bystander.suffered()))
    return problems
  }

  /** Whether everything that is claimed is claimed by somebody, before any of it is removed by its name. */
  async #claims(engine) {
    const ids = new Set((await engine.containers.list({ all: true })).map(({ id }) => id))
    const networks = await engine.networks.list()
    const volumes = new Set((await engine.volumes.list()).map(({ name }) => name))
    const bridges = await Promise.all(
      networks.map(async (network) => (await network.inspect()).interface),
    )
    const names = new Set(networks.map(({ name }) => name))
    const there = {
      // An engine that closes still removes some.
      containers: (id) => ids.has(id) || /^\..*\.removing$/.test(id),
      // One that has removed itself meanwhile.
      leavesName: () => true,
      networks: (name) => names.has(name),
      volumes: (name) => volumes.has(name) || /^\..*\.removing$/.test(name),
    }
    return [
      ...claims(this.#place, there),
      ...[...look().links]
        .filter((link) => link.startsWith('kl-') && !bridges.includes(link))
        .map((link) => `bridge ${link} of no network`),
      ...half(this.#place),
    ]
  }

  /** What is left on the host; what a network namespace or a cgroup leaves to the kernel takes a moment. */
  async #lasting() {
    this.#ids.look()
    const isOurs = (id) => this.#ids.has(id)
    let left = remains(this.#before, look(), isOurs)
    for (let waited = 0; waited < LASTING_MS && left.length > 0; waited += 30) {
      await pause(30)
      const now = new Set(remains(this.#before, look(), isOurs).map(identity))
      left = left.filter((each) => now.has(identity(each)))
    }
    return left
  }

  /** Helpers that have lost their program clean up by themselves; what they do not end, the next engine would wait for. */
  async #quiet() {
    for (let waited = 0; waited < QUIET_MS; waited += 10) {
      const left = strangers(this.#before.processes, processes())
      if (!left.some(([pid]) => !outlives(pid) && alive(pid))) return
      await pause(10)
    }
  }
}

/** Half made containers and volumes. */
function half({ root }) {
  return ['containers', 'volumes'].flatMap((kind) =>
    readdirSync(join(root, kind), { withFileTypes: true })
      .filter(({ name }) => /^\..*\.(making|creating)$/.test(name))
      .map(({ name }) => `half of ${kind}: ${name}`),
  )
}

/** A process is the same wherever it waits. */
function identity(problem) {
  return problem.startsWith('process') ? problem.split(':')[0] : problem
}

function describe(error) {
  const causes = [error.cause, ...(error.errors ?? [])].filter(Boolean).map(describe)
  return [`${error.code ?? ''} ${error.stack ?? error}`, ...causes].join('\n  because of ')
}
