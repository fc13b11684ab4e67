import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { Owned } from '../scripts/owned.mjs'
import { alternate, print } from './measure.mjs'
import { peers } from './peers.mjs'
import { promise } from './promise.mjs'
import { Engine } from '../dist/index.js'

const TRUE = ['/bin/busybox', 'true']
const BATCH = 10

/** Run-to-exit of `true` without a network: the kernel's floor, Keelson, and the peers found. */
export async function bench() {
  const directory = mkdtempSync('/var/tmp/keelson-bench-')
  const owned = new Owned()
  try {
    const rootfs = busyboxRootfs(directory)
    const floor = compileFloor(directory)
    const engine = owned.own(
      await Engine.open({
        root: join(directory, 'root'),
        runRoot: mkdtempSync('/run/keelson-bench-'),
      }),
    )
    const image = await engine.images.from({ '/bin/busybox': '/bin/busybox' })
    let scratch = 0
    const sides = [
      {
        name: 'floor',
        once: async () => {
          const place = join(directory, `floor-${scratch++}`)
          mkdirSync(place)
          const { stdout, status, stderr } = spawnSync(
            floor,
            [rootfs, place, String(BATCH), ...TRUE],
            { encoding: 'utf8' },
          )
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
            await engine.run(image, TRUE)
            times.push(performance.now() - start)
          }
          return middle(times)
        },
      },
    ]
    const results = await alternate(sides, { rounds: 15 })
    await comparePeers(directory, rootfs, engine, image)
    print('run true to exit, no network (medians of batches of 10)', results)
    promise(
      'run to exit',
      results.get('keelson').median / results.get('floor').median,
      2,
      'times the floor',
    )
  } finally {
    await owned.dispose()
    rmSync(directory, { recursive: true, force: true })
  }
}

async function comparePeers(directory, rootfs, engine, image) {
  const archive = join(directory, 'rootfs.tar')
  execFileSync('tar', ['-C', rootfs, '-cf', archive, '.'])
  const found = peers(archive)
  if (found.length === 0) return
  const sides = [
    { name: 'keelson', once: () => engine.run(image, TRUE).then(() => undefined) },
    ...found.map(({ name, run }) => ({ name, once: () => run(TRUE).then(() => undefined) })),
  ]
  print('run true to exit against peers', await alternate(sides, { rounds: 7, warmup: 1 }))
}

function busyboxRootfs(directory) {
  const rootfs = join(directory, 'rootfs')
  for (const name of ['bin', 'proc', 'dev', 'sys', 'etc']) {
    mkdirSync(join(rootfs, name), { recursive: true })
  }
  cpSync('/bin/busybox', join(rootfs, 'bin/busybox'))
  symlinkSync('busybox', join(rootfs, 'bin/true'))
  return rootfs
}

function compileFloor(directory) {
  const program = join(directory, 'floor')
  const source = new URL('./floor/run.c', import.meta.url).pathname
  execFileSync('cc', ['-O2', '-o', program, source])
  return program
}

const middle = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
