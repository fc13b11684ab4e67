import { promise } from './promise.mjs'
import { alternate, print, timed } from './measure.mjs'
import { findDaemonPeers } from './peers.mjs'
import { onScene } from './scene.mjs'

const COUNT = 50
const COMMAND = ['/bin/busybox', 'sleep', '1000000']

/** Fifty detached containers started at once, and removed at once while they run. */
export async function bench({ long }) {
  await onScene(async (scene) => {
    const engine = await scene.engine('root')
    const image = await scene.image(engine)
    const removals = []
    const start = async () => {
      let containers
      const took = await timed(async () => {
        containers = await Promise.all(
          Array.from({ length: COUNT }, () =>
            engine.containers.run({ image, command: COMMAND, detached: true, logs: 'none' }),
          ),
        )
      })
      const remove = () =>
        Promise.all(containers.map((container) => container.remove({ force: true })))
      removals.push(await timed(remove))
      return took
    }
    const rounds = long ? 20 : 5
    const started = await alternate([{ name: `start ${COUNT}`, once: start }], {
      rounds,
      warmup: 1,
    })
    let next = 1
    const removed = await alternate(
      [{ name: `remove ${COUNT}`, once: async () => removals[next++] }],
      { rounds, warmup: 0 },
    )
    print(`${COUNT} detached containers at once`, new Map([...started, ...removed]))
    promise(`start of ${COUNT} at once`, started.get(`start ${COUNT}`).median / 1000, 0.6, 's')
    promise(`removal of ${COUNT} that run`, removed.get(`remove ${COUNT}`).median / 1000, 0.5, 's')
    await againstPeers(scene)
  })
}

/** Once each: they take seconds. */
async function againstPeers(scene) {
  for (const peer of await findDaemonPeers(scene, COMMAND)) {
    try {
      const names = Array.from({ length: COUNT }, (_, n) => `keelson-bench-${process.pid}-${n}`)
      const started = await timed(() => Promise.all(names.map((name) => peer.start(name))))
      const removed = await timed(() => peer.remove(names))
      console.log(
        `  ${peer.name.padEnd(12)} start ${(started / 1000).toFixed(2)} s, remove ${(removed / 1000).toFixed(2)} s`,
      )
    } finally {
      peer.forget()
    }
  }
}
