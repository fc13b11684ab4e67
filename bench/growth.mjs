import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Registry } from '../dist/registry-server/index.js'
import { crowd } from './crowd.mjs'
import { alternate, print, timed } from './measure.mjs'
import { onScene, TRUE } from './scene.mjs'

const STEPS = [1, 10, 100]
/** More than this between the first row and another is no longer noise. */
const FLAT = 1.5

/** How the cost of a run grows with what else there is: images in the store, containers that run, layers of the image, networks. */
export async function bench({ long }) {
  const rounds = long ? 60 : 15
  await onScene((scene) => images(scene, rounds))
  await onScene((scene) => containers(scene, rounds))
  await onScene((scene) => layers(scene, rounds))
  await onScene((scene) => crowd(scene, rounds))
}

async function images(scene, rounds) {
  const sides = []
  for (const count of STEPS) {
    const engine = await scene.engine(`images-${count}`)
    for (let n = 1; n < count; n++) await engine.images.from({ '/n': Buffer.from(`${n}`) })
    const image = await scene.image(engine)
    sides.push({ name: `${count}`, once: () => timed(() => engine.run(image, TRUE)) })
  }
  show('run with 1, 10, 100 images in the store', await alternate(sides, { rounds }))
}

async function containers(scene, rounds) {
  const sides = []
  for (const count of STEPS) {
    const engine = await scene.engine(`containers-${count}`)
    const image = await scene.image(engine)
    for (let n = 1; n < count; n++) {
      engine.run(image, ['/bin/busybox', 'sleep', '1000'], { reject: false }).catch(() => {})
    }
    await started(engine, count - 1)
    sides.push({ name: `${count}`, once: () => timed(() => engine.run(image, TRUE)) })
  }
  show('run as the 1st, 10th, 100th container that runs', await alternate(sides, { rounds }))
}

async function layers(scene, rounds) {
  const layout = layeredImages(scene)
  const registry = scene.owned.own(await Registry.listen({ layout, readonly: true }))
  const engine = await scene.engine('root')
  const sides = []
  for (const count of STEPS) {
    const image = await engine.images.pull(`${registry.host}/layout:${count}`)
    sides.push({ name: `${count}`, once: () => timed(() => engine.run(image, TRUE)) })
  }
  show('run of an image of 1, 10, 100 layers', await alternate(sides, { rounds }))
}

function started(engine, count) {
  let missing = count
  return new Promise((resolve) => {
    if (missing === 0) return resolve()
    engine.on('container.start', () => --missing === 0 && resolve())
  })
}

function show(title, results) {
  print(title, results)
  const [first, ...others] = [...results.values()]
  const most = Math.max(...others.map(({ median }) => median / first.median))
  console.log(`  ${most <= FLAT ? 'flat' : `grows: up to ${most.toFixed(2)} times`}`)
}

/** An OCI image layout with an image of each number of layers, the root file system being the first layer. */
function layeredImages(scene) {
  const layout = join(scene.directory, 'layout')
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
  const put = (mediaType, content) => {
    const hex = createHash('sha256').update(content).digest('hex')
    writeFileSync(join(layout, 'blobs/sha256', hex), content)
    return { mediaType, digest: `sha256:${hex}`, size: content.length }
  }
  const json = (mediaType, value) => put(mediaType, Buffer.from(JSON.stringify(value)))
  const all = Array.from({ length: Math.max(...STEPS) }, (_, n) =>
    put('application/vnd.oci.image.layer.v1.tar', archive(scene, n)),
  )
  const manifests = STEPS.map((count) => {
    const chosen = all.slice(0, count)
    const config = json('application/vnd.oci.image.config.v1+json', {
      os: 'linux',
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      config: {},
      rootfs: { type: 'layers', diff_ids: chosen.map(({ digest }) => digest) },
    })
    const mediaType = 'application/vnd.oci.image.manifest.v1+json'
    const manifest = json(mediaType, { schemaVersion: 2, mediaType, config, layers: chosen })
    return { ...manifest, annotations: { 'org.opencontainers.image.ref.name': `${count}` } }
  })
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }))
  return layout
}

function archive(scene, n) {
  const path = join(scene.directory, 'layer.tar')
  let source = scene.rootfs
  if (n > 0) {
    source = join(scene.directory, `layer-${n}`)
    mkdirSync(source)
    writeFileSync(join(source, `file-${n}`), `${n}`)
  }
  execFileSync('tar', ['-C', source, '--owner=0', '--group=0', '-cf', path, '.'])
  return readFileSync(path)
}
