import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { alternate, print, timed } from './measure.mjs'
import { promise } from './promise.mjs'
import { onScene, TRUE } from './scene.mjs'

const BATCH = 10

/** `true` in a running container, from the call to its end: the kernel's floor, and Keelson. */
export async function bench({ long }) {
  await onScene(async (scene) => {
    const floor = join(scene.directory, 'floor-exec')
    execFileSync('cc', ['-O2', '-o', floor, new URL('./floor/exec.c', import.meta.url).pathname])
    const engine = await scene.engine('root')
    const container = await engine.containers.create({
      image: await scene.image(engine),
      command: ['/bin/busybox', 'sleep', '1000000'],
    })
    await container.start()
    const { pid } = await container.state()
    const sides = [
      {
        name: 'floor',
        once: async () =>
          execFileSync(floor, [String(pid), String(BATCH), ...TRUE], { encoding: 'utf8' })
            .trim()
            .split('\n')
            .map(Number),
      },
      {
        name: 'keelson',
        once: async () => {
          const times = []
          for (let n = 0; n < BATCH; n++) times.push(await timed(() => container.exec(TRUE)))
          return times
        },
      },
    ]
    const results = await alternate(sides, { rounds: long ? 100 : 20 })
    print(`exec true in a running container (${BATCH} and ${BATCH} in turn)`, results)
    const [bare, keelson] = [results.get('floor'), results.get('keelson')]
    console.log(`  least against least: ${(keelson.min / bare.min).toFixed(2)}x`)
    promise('exec to exit', keelson.median / bare.median, 2.5, 'times the floor')
  })
}
