import { alternate, print, timed } from './measure.mjs'
import { promise } from './promise.mjs'
import { TRUE } from './scene.mjs'

const NETWORKS = 200
const CONTAINERS = 500
/** Of these, on the network that containers are made on meanwhile. */
const TOGETHER = 200
/** Started at once: more would only wait for one another. */
const BATCH = 50
const SLEEP = ['/bin/busybox', 'sleep', '1000000']

/** What making networks and containers on them takes alone, and among 200 networks with 500 containers. */
export async function crowd(scene, rounds) {
  const engine = await scene.engine('crowd')
  const image = await scene.image(engine)
  const start = (networks) =>
    engine.containers.run({ image, command: SLEEP, detached: true, logs: 'none', networks })
  const names = Array.from({ length: NETWORKS }, (_, n) => `n${n}`)
  const [own, ...others] = names
  await engine.networks.create({ name: own })
  const containers = []
  try {
    const alone = await look(scene, { engine, image, own, start }, rounds)
    const made = await timed(async () => {
      for (const name of others) await engine.networks.create({ name })
    })
    const started = await timed(async () => {
      while (containers.length < CONTAINERS) {
        const batch = Array.from({ length: BATCH }, (_, n) => {
          const at = containers.length + n
          return start(at < TOGETHER ? own : others[at % others.length])
        })
        containers.push(...(await Promise.all(batch)))
      }
    })
    console.log(
      `\n${NETWORKS} networks made in ${(made / 1000).toFixed(2)} s, ${CONTAINERS} containers started on them in ${(started / 1000).toFixed(2)} s`,
    )
    const among = await look(scene, { engine, image, own, start }, rounds)
    for (const [name, before] of alone) {
      const after = among.get(name)
      print(name, new Map(Object.entries({ alone: before, [`among ${CONTAINERS}`]: after })))
      if (name !== 'floor') promise(`${name}, among all`, after.tenth / before.tenth, 2, 'times')
    }
  } finally {
    const removed = await timed(async () => {
      while (containers.length > 0) {
        const batch = containers.splice(0, BATCH)
        await Promise.all(batch.map((one) => one.remove({ force: true })))
      }
      for (const network of await engine.networks.list()) await network.remove()
    })
    console.log(`  all removed in ${(removed / 1000).toFixed(2)} s`)
  }
}

/** The floor in turn with them, which tells how much of it is the kernel's and the machine's. */
async function look(scene, { engine, image, own, start }, rounds) {
  const sides = [
    { name: 'floor', once: async () => scene.floor(1) },
    {
      name: 'run on a bridge',
      once: () => timed(() => engine.run(image, TRUE, { networks: own })),
    },
    {
      name: 'create and start a container on a bridge',
      async once() {
        let container
        const took = await timed(async () => (container = await start(own)))
        await container.remove({ force: true })
        return took
      },
    },
    {
      name: 'create a network',
      async once() {
        let network
        const took = await timed(async () => {
          network = await engine.networks.create({ name: 'one-more' })
        })
        await network.remove()
        return took
      },
    },
  ]
  return await alternate(sides, { rounds })
}
