import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { alternate, print, timed } from './measure.mjs'
import { findPeers } from './peers.mjs'
import { promise } from './promise.mjs'
import { onScene, TRUE } from './scene.mjs'

const BATCH = 5

/** Run-to-exit of `true` without a network: the kernel's floor, Keelson, and the peers found. */
export async function bench({ long }) {
  await onScene(async (scene) => {
    const engine = await scene.engine('root')
    const image = await scene.image(engine)
    const run = () => engine.run(image, TRUE, { networks: 'none' })
    const sides = [
      { name: 'floor', once: async () => scene.floor(BATCH) },
      {
        name: 'keelson',
        once: async () => {
          const times = []
          for (let n = 0; n < BATCH; n++) times.push(await timed(run))
          return times
        },
      },
    ]
    const results = await alternate(sides, { rounds: long ? 120 : 30 })
    print(`run true to exit, no network (${BATCH} and ${BATCH} in turn)`, results)
    const [floor, keelson] = [results.get('floor'), results.get('keelson')]
    promise('run to exit, least of times', keelson.min / floor.min, 2, 'times the floor')
    promise('run to exit', keelson.median / floor.median, 2, 'times the floor')
    await againstPeers(scene, run, long ? 15 : 5)
  })
}

async function againstPeers(scene, run, rounds) {
  const archive = join(scene.directory, 'rootfs.tar')
  execFileSync('tar', ['-C', scene.rootfs, '-cf', archive, '.'])
  console.log('\npeers')
  const peers = await findPeers({ archive, rootfs: scene.rootfs, command: TRUE })
  if (peers.length === 0) return
  try {
    const sides = [
      { name: 'keelson', once: () => timed(run) },
      ...peers.map((peer) => ({ name: peer.name, once: () => timed(peer.run) })),
    ]
    print('run true to exit against peers', await alternate(sides, { rounds, warmup: 1 }))
  } finally {
    for (const peer of peers) peer.forget()
  }
}
