/**
 * Packs what is published: `node scripts/pack-platforms.mjs [--to DIRECTORY] [--platform linux-x64 ...] [--built]`.
 * `--built` takes `dist/` as it is.
 *
 * One tarball for `keelson` and one a platform with nothing but the helper's executable. The platform packages become
 * exact-version optional dependencies of the main one here, in a staging folder, and not in the checkout's own
 * package.json: see docs/decisions/0002-platform-packages.md.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { buildHelper, canBuild, TARGETS } from './build-helper.mjs'
import { buildTypeScript } from './build.mjs'
import { main as script, output, root } from './lib/process.mjs'

const PLATFORMS = Object.keys(TARGETS).map((arch) => `linux-${arch}`)

/**
 * `dist/` must have been built.
 * @param {{ to: string, platforms: string[] }} options
 * @returns {Promise<{ main: string, platforms: Record<string, string> }>} paths of the tarballs
 */
export async function pack({ to, platforms }) {
  const destination = resolve(root, to)
  mkdirSync(destination, { recursive: true })
  const packed = { main: packMain(destination), platforms: {} }
  for (const platform of platforms) {
    packed.platforms[platform] = await packPlatform(platform, destination)
  }
  return packed
}

function packMain(destination) {
  const manifest = readJson('package.json')
  const { scripts: _scripts, devDependencies: _devDependencies, ...published } = manifest
  published.optionalDependencies = Object.fromEntries(
    PLATFORMS.map((platform) => [readJson(`npm/${platform}/package.json`).name, manifest.version]),
  )
  return inStaging('keelson', published, destination, (staging) => {
    for (const file of manifest.files) {
      if (existsSync(`${root}/${file}`))
        cpSync(`${root}/${file}`, `${staging}/${file}`, { recursive: true })
    }
  })
}

async function packPlatform(platform, destination) {
  const folder = `npm/${platform}`
  const manifest = {
    ...readJson(`${folder}/package.json`),
    version: readJson('package.json').version,
  }
  const helper = await buildHelper({ target: TARGETS[platform.replace('linux-', '')], quiet: true })
  return inStaging(platform, manifest, destination, (staging) => {
    cpSync(`${root}/${folder}/README.md`, `${staging}/README.md`)
    cpSync(`${root}/LICENSE`, `${staging}/LICENSE`)
    mkdirSync(`${staging}/bin`)
    cpSync(helper, `${staging}/bin/keelson-helper`)
    chmodSync(`${staging}/bin/keelson-helper`, 0o755)
  })
}

function inStaging(name, manifest, destination, fill) {
  const staging = `${destination}/staging-${name}`
  rmSync(staging, { recursive: true, force: true })
  mkdirSync(staging, { recursive: true })
  try {
    writeFileSync(`${staging}/package.json`, `${JSON.stringify(manifest, null, 2)}\n`)
    fill(staging)
    const packed = output(['npm', 'pack', '--json', '--pack-destination', destination], {
      cwd: staging,
    })
    if (packed === undefined) throw new Error(`npm pack failed in ${staging}.`)
    return `${destination}/${JSON.parse(packed)[0].filename}`
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

function readJson(path) {
  return JSON.parse(readFileSync(`${root}/${path}`, 'utf8'))
}

await script(import.meta, async (args) => {
  const { values } = parseArgs({
    args,
    options: {
      to: { type: 'string', default: '.cache/pack' },
      built: { type: 'boolean', default: false },
      platform: { type: 'string', multiple: true, default: PLATFORMS },
    },
  })
  for (const platform of values.platform) {
    const target = TARGETS[platform.replace('linux-', '')]
    if (!target || !canBuild(target)) {
      throw new Error(
        `The helper for ${platform} cannot be built here: it takes \`rustup target add ${target}\` and a linker ` +
          '(Debian: gcc-aarch64-linux-gnu). Or name the platforms to pack with --platform.',
      )
    }
  }
  if (!values.built) await buildTypeScript()
  const packed = await pack({ to: values.to, platforms: values.platform })
  for (const path of [packed.main, ...Object.values(packed.platforms)]) console.log(path)
})
