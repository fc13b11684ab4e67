import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { alternate, print, timed } from './measure.mjs'
import { promise } from './promise.mjs'
import { onScene } from './scene.mjs'

const exec = promisify(execFile)

/** What the layer is made of: this system's own programs and libraries, as a distribution's are. */
const CONTENT = ['usr/bin', 'usr/lib', 'usr/share']
const SHORT = { unpacked: 140e6, packed: 30e6 }
/** As the promise has it. */
const LONG = { unpacked: 700e6, packed: 200e6 }

/** Pull and unpack of one large layer from loopback, against `curl | tar xz`. */
export async function bench({ long }) {
  await onScene(async (scene) => {
    const registry = await serveLargeLayer(scene, long ? LONG : SHORT)
    const url = `http://${registry.host}/v2/large/blobs/${registry.layer.digest}`
    let turn = 0
    const sides = [
      {
        name: 'curl | tar xz',
        once: async () => {
          const target = join(scene.directory, `tar-${turn++}`)
          mkdirSync(target)
          const command = `curl -sf ${url} | tar -C ${target} -xz`
          const took = await timed(() => shell(command))
          remove(target)
          return took
        },
      },
      {
        name: 'keelson pull',
        once: async () => {
          const name = `pull-${turn++}`
          const engine = await scene.openEngine(name)
          try {
            return await timed(() => engine.images.pull(`${registry.host}/large:1`))
          } finally {
            await engine.close()
            remove(join(scene.directory, name))
          }
        },
      },
    ]
    const results = await alternate(sides, { rounds: long ? 5 : 4, warmup: 1 })
    print(`pull and unpack, one layer of ${Math.round(registry.layer.size / 1e6)} MB`, results)
    const ratio = results.get('keelson pull').median / results.get('curl | tar xz').median
    promise('pull and unpack', ratio, 1, 'times curl | tar xz')
  })
}

async function serveLargeLayer(scene, size) {
  const tree = join(scene.directory, 'tree')
  mkdirSync(tree)
  // The archive is cut where it is large enough; what tar says of that is no news.
  await shell(
    `tar -C / -cf - ${CONTENT.join(' ')} 2>/dev/null | head -c ${size.unpacked} | tar -C ${tree} -xf - 2>/dev/null || true`,
  )
  const engine = await scene.engine('source')
  const image = await engine.images.from(
    { '/tree': tree },
    {},
    { reference: 'bench.invalid/large:1', compression: 'gzip' },
  )
  rmSync(tree, { recursive: true })
  const [layer] = (await image.inspect()).layers
  if (layer.size < size.packed) {
    throw new Error(`this system has too few files: they make a layer of ${layer.size} bytes only`)
  }
  const layout = join(scene.directory, 'source', 'content')
  return { host: await serve(scene, layout), layer }
}

/** What one side has left to be written must not be written in the other's time. */
function remove(path) {
  rmSync(path, { recursive: true })
  execFileSync('sync')
}

/** What its clients do must not stand in its way, nor the other way round. */
async function serve(scene, layout) {
  const program = new URL('./registry.mjs', import.meta.url).pathname
  const child = spawn(process.execPath, [program, layout], { stdio: ['pipe', 'pipe', 'inherit'] })
  scene.owned.own({
    [Symbol.asyncDispose]: async () => {
      child.stdin.end()
      await once(child, 'exit')
    },
  })
  const [host] = await once(child.stdout.setEncoding('utf8'), 'data')
  return host.trim()
}

async function shell(command) {
  await exec('sh', ['-c', command])
}
