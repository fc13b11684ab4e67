import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promise } from './promise.mjs'
import { summary, timed } from './measure.mjs'
import { onScene } from './scene.mjs'

/** More than this between few containers and many is no longer noise; a list has a line for each. */
const FLAT = 3

/** Milliseconds without anything to do, after which a monitor has given back what it does not need, and more. */
const IDLE = 2000

/** Many containers that do nothing: what each of their monitors takes, and what the engine does among them. */
export async function bench({ long }) {
  const all = long ? 500 : 100
  await onScene(async (scene) => {
    const engine = await scene.engine('root')
    const image = await scene.image(engine)
    const containers = []
    const grow = async (count) => {
      const missing = Array.from({ length: count - containers.length }, () =>
        engine.containers.run({
          image,
          command: ['/bin/busybox', 'sleep', '1000000'],
          detached: true,
        }),
      )
      return await timed(async () => containers.push(...(await Promise.all(missing))))
    }
    try {
      console.log(`\n${all} idle detached containers`)
      await grow(10)
      const few = await look(engine, containers, 10)
      const took = await grow(all)
      const after = await look(engine, containers, all)
      console.log(`  started in ${(took / 1000).toFixed(2)} s`)
      await sleep(IDLE)
      const pss = summary(await Promise.all(containers.map(memoryOfMonitor)))
      console.log(`  memory of this process ${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB`)
      promise('memory of an idle monitor (PSS)', pss.median / 1e6, 0.35, 'MB')
      promise('inspect among all, against among 10', after.inspect / few.inspect, FLAT, 'times')
      promise(
        'list of all a container, against of 10',
        after.list / all / (few.list / 10),
        FLAT,
        'times',
      )
    } finally {
      const removed = await timed(() =>
        Promise.all(containers.map((one) => one.remove({ force: true }))),
      )
      console.log(`  removed in ${(removed / 1000).toFixed(2)} s`)
    }
  })
}

async function look(engine, containers, count) {
  const [lists, inspects] = [[], []]
  for (let n = 0; n < 20; n++) {
    lists.push(await timed(() => engine.containers.list()))
    const one = containers[n % containers.length]
    inspects.push(await timed(() => one?.inspect()))
  }
  const [list, inspect] = [summary(lists).median, summary(inspects).median]
  console.log(
    `  among ${String(count).padEnd(4)} list ${list.toFixed(2)} ms, inspect ${inspect.toFixed(2)} ms`,
  )
  return { list, inspect }
}

/** Proportional set size, in bytes, of the process that watches a container: the parent of its first. */
async function memoryOfMonitor(container) {
  const { pid } = await container.state()
  const parent = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]
  const rollup = readFileSync(`/proc/${parent}/smaps_rollup`, 'utf8')
  return Number(/^Pss:\s*(\d+)/m.exec(rollup)[1]) * 1024
}
