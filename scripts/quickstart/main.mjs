import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Engine } from '../../dist/index.js'
import { Registry } from '../../dist/registry-server/index.js'
import { Owned } from '../owned.mjs'
import { bold, dim, quote, step } from './steps.mjs'

const PROGRAMS = ['sh', 'id', 'ls', 'cat', 'hostname', 'uname', 'true']
const LOOK_AROUND = `
echo "hello from pid $$ on $(hostname), as $(id -un)"
echo "root directory: $(echo /*)"
while read -r name value; do [ "$name" = CapEff: ] && echo "capabilities:   $value"; done < /proc/self/status
echo "network:        $(echo /sys/class/net/*)"
`

/** The main job on an image made here: assemble, serve, pull back, run. */
export async function embedded() {
  const place = mkdtempSync(join(tmpdir(), 'keelson-quickstart-'))
  const start = performance.now()
  const owned = new Owned()
  console.log(bold('\nKeelson: a container engine inside this Node process\n'))
  try {
    const maker = owned.own(await open(join(place, 'maker')))
    await host(maker)
    await step(`assemble an image from this host's own ${PROGRAMS.join(', ')}`, async (note) => {
      const image = await maker.images.fromHost(
        PROGRAMS,
        {},
        { reference: 'localhost/quickstart:1' },
      )
      note(
        `${megabytes(image.size)} in ${image.chain.length} layer, ${image.digest.slice(0, 19)}…`,
        true,
      )
    })
    const registry = owned.own(
      await step('serve it from an OCI registry on loopback', () =>
        Registry.listen({ layout: join(place, 'maker', 'content') }),
      ),
    )
    const engine = owned.own(
      await step('open a second engine that has never seen it', () => open(join(place, 'engine'))),
    )
    const reference = `${registry.host}/quickstart:1`
    const image = await pull(engine, reference)
    await run(engine, image, ['sh', '-c', LOOK_AROUND])
    await again(engine, image)
  } finally {
    await owned.dispose()
    rmSync(place, { recursive: true, force: true })
  }
  console.log(
    dim(
      `\n  all of it in ${((performance.now() - start) / 1000).toFixed(1)} s; nothing is left behind\n`,
    ),
  )
}

/**
 * The main job on an image of the caller's choice, in the engine's ordinary place.
 *
 * @param {string} reference
 * @param {string[]} command
 */
export async function pulled(reference, command) {
  console.log(bold('\nKeelson\n'))
  const owned = new Owned()
  try {
    const engine = owned.own(await Engine.open())
    await host(engine)
    const image = await pull(engine, reference)
    await run(engine, image, command.length > 0 ? command : undefined)
  } catch (error) {
    console.error(`\n  ${error.code ?? ''} ${error.message}`)
    if (error.hint) console.error(`  ${error.hint}`)
    process.exitCode = 1
  } finally {
    await owned.dispose()
  }
}

const open = (root) => Engine.open({ root, runRoot: `${root}-run` })

async function host(engine) {
  await step('look at the host', async (note) => {
    const info = await engine.info()
    note(
      `Linux ${info.kernel} ${info.architecture}, cgroups ${info.cgroups.mode}, snapshots ${info.snapshotter}, ${info.rootless ? 'rootless' : 'root'}`,
      true,
    )
  })
}

function pull(engine, reference) {
  return step(`pull ${reference}`, async (note) => {
    const image = await engine.images.pull(reference, {
      onProgress: ({ totals }) =>
        note(`${megabytes(totals.current)} of ${megabytes(totals.total)}`),
    })
    note(`${megabytes(image.size)}, verified and unpacked, ${image.digest.slice(0, 19)}…`, true)
    return image
  })
}

async function run(engine, image, command) {
  const result = await step(`run ${command?.[0] ?? 'its command'} isolated`, () =>
    engine.run(image, command, { reject: false }),
  )
  quote(result.stdout)
  if (result.stderr) quote(result.stderr)
  console.log(dim(`    exit code ${result.exitCode}`))
}

async function again(engine, image) {
  await step('run true 20 more times', async (note) => {
    const times = []
    for (let n = 0; n < 20; n++) {
      const start = performance.now()
      await engine.run(image, ['true'])
      times.push(performance.now() - start)
    }
    note(
      `median ${times.toSorted((a, b) => a - b)[10].toFixed(1)} ms a container, from call to exit`,
      true,
    )
  })
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`
