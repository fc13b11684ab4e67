import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Owned } from '../scripts/owned.mjs'
import { alternate, print } from './measure.mjs'
import { promise } from './promise.mjs'
import { Engine } from '../dist/index.js'

const TRUE = ['/bin/busybox', 'true']
const BATCH = 10

/** `true` in a running container, from the call to its end: the kernel's floor, and Keelson. */
export async function bench() {
  const directory = mkdtempSync('/var/tmp/keelson-bench-')
  const owned = new Owned()
  try {
    const floor = join(directory, 'floor')
    execFileSync('cc', ['-O2', '-o', floor, new URL('./floor/exec.c', import.meta.url).pathname])
    const engine = owned.own(
      await Engine.open({
        root: join(directory, 'root'),
        runRoot: mkdtempSync('/run/keelson-bench-'),
      }),
    )
    const image = await engine.images.from({ '/bin/busybox': '/bin/busybox' })
    const container = await engine.containers.create({
      image,
      command: ['/bin/busybox', 'sleep', '1000000'],
    })
    await container.start()
    const { pid } = await container.state()
    const sides = [
      {
        name: 'floor',
        once: async () => {
          const args = [String(pid), String(BATCH), ...TRUE]
          const { stdout, status, stderr } = spawnSync(floor, args, { encoding: 'utf8' })
          if (status !== 0) throw new Error(`the floor failed: ${stderr}`)
          return middle(stdout.trim().split('\n').map(Number))
        },
      },
      {
        name: 'keelson',
        once: async () => {
          const times = []
          for (let n = 0; n < BATCH; n++) {
            const start = performance.now()
            await container.exec(TRUE)
            times.push(performance.now() - start)
          }
          return middle(times)
        },
      },
    ]
    const results = await alternate(sides, { rounds: 15 })
    print('exec true in a running container (medians of batches of 10)', results)
    promise(
      'exec to exit',
      results.get('keelson').median / results.get('floor').median,
      2.5,
      'times the floor',
    )
  } finally {
    await owned.dispose()
    rmSync(directory, { recursive: true, force: true })
  }
}

const middle = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
