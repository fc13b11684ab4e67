/**
 * What a fresh clone needs before anything runs: `node scripts/bootstrap.mjs [--tests]`.
 *
 * Uses nothing but Node, does only what is missing, and is silent and fast when nothing is.
 */
import { existsSync, readFileSync } from 'node:fs'
import { buildHelper, canBuild, TARGETS } from './build-helper.mjs'
import { installDebianPackages, missingDebianPackages } from './lib/debian.mjs'
import { heading, main, mustRun, output, root, run } from './lib/process.mjs'

/**
 * @param {{ tests?: boolean }} [options] `tests`: also the Debian packages that the tests use. As root they are installed;
 *   otherwise what is missing is an error that names the command.
 */
export async function bootstrap({ tests = false } = {}) {
  checkNode()
  if (!nodeModulesFresh()) {
    heading('npm packages')
    await mustRun(['npm', 'ci', '--no-audit', '--no-fund'])
  }
  if (tests) {
    const missing = missingDebianPackages()
    if (missing.length > 0) await installDebianPackages(missing)
    if (!canBuild(TARGETS.arm64)) await addRustTarget(TARGETS.arm64)
  }
  if (!process.env.KEELSON_HELPER) await buildHelper({ quiet: helperBuilt() })
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new Error(`Keelson needs Node 20.19 or newer; this is ${process.versions.node}.`)
  }
}

/**
 * Compares what the lock file asks for with what npm wrote down when it last installed: times would be wrong after
 * every checkout.
 */
function nodeModulesFresh() {
  const installed = `${root}/node_modules/.package-lock.json`
  if (!existsSync(installed)) return false
  const wanted = JSON.parse(readFileSync(`${root}/package-lock.json`, 'utf8')).packages
  const found = JSON.parse(readFileSync(installed, 'utf8')).packages
  return Object.entries(wanted).every(
    ([path, entry]) => path === '' || entry.optional || found[path]?.version === entry.version,
  )
}

/**
 * Rust's library for another processor. Where rustup is missing or cannot reach its server, the tests that need it are skipped
 * with that reason.
 */
async function addRustTarget(target) {
  if (!output(['rustup', '--version'])) return
  heading(`Rust target ${target}`)
  await run(['timeout', '120', 'rustup', 'target', 'add', target])
}

/** The first build takes minutes and should be seen; later ones only matter when they fail. */
function helperBuilt() {
  return existsSync(`${root}/helper/target`)
}

await main(import.meta, (args) => bootstrap({ tests: args.includes('--tests') }))
