/**
 * `npm test`: everything that must hold, on a fresh clone too. `npm test -- NAME...` runs only the named stages.
 *
 * The last line says how many tests passed, failed and were skipped; a check that is not a test (lint, types, package)
 * counts as one failed test when it fails.
 */
import { rmSync } from 'node:fs'
import { bootstrap } from './bootstrap.mjs'
import { buildTypeScript } from './build.mjs'
import { close, countCargo, countVitest, failedStep, none, sum } from './lib/counts.mjs'
import { bin, heading, main, root, run } from './lib/process.mjs'
import { pack } from './pack-platforms.mjs'

/** There cargo finds its configuration, without which the helper would not be static. */
const HELPER = { cwd: `${root}/helper` }

/** name -> what it runs. Cheap ones first: a typing mistake should not take minutes to be told. */
const STAGES = {
  lint: check([bin('oxlint'), '--type-aware']),
  format: check([bin('prettier'), '--check', '.']),
  'dead-code': check([bin('knip')]),
  types: check([bin('tsc'), '-p', 'tsconfig.json', '--noEmit']),
  docs: check([bin('typedoc'), '--emit', 'none', '--treatWarningsAsErrors']),
  'rust-format': check(['cargo', 'fmt', '--check'], HELPER),
  'rust-lint': check(
    ['cargo', 'clippy', '--locked', '--all-targets', '--', '-D', 'warnings'],
    HELPER,
  ),
  unit: (title) => vitest(title, 'unit'),
  'rust-test': cargoTest,
  package: checkPackage,
  integration: (title) => vitest(title, 'integration'),
}

await main(import.meta, async (names) => {
  const unknown = names.filter((name) => !(name in STAGES))
  if (unknown.length > 0) {
    throw new Error(`No stage ${unknown.join(', ')}; there are ${Object.keys(STAGES).join(', ')}.`)
  }
  await bootstrap({ tests: true })
  await buildTypeScript()
  const results = []
  for (const [name, stage] of Object.entries(STAGES)) {
    if (names.length > 0 && !names.includes(name)) continue
    heading(name)
    results.push(await stage(name))
  }
  close(sum(results))
})

/** A stage that holds or does not. */
function check(command, options) {
  return async (title) => ((await run(command, options)) === 0 ? none() : failedStep(title))
}

function vitest(title, project) {
  const command = [bin('vitest'), 'run', '--project', project]
  const reporters = ['--reporter=default', '--reporter=./scripts/lib/reporter.mjs']
  return countVitest(title, (file) =>
    run([...command, ...reporters], { env: { KEELSON_REPORT: file } }),
  )
}

async function cargoTest(title) {
  let text = ''
  const code = await run(['cargo', 'test', '--locked', '--no-fail-fast'], {
    ...HELPER,
    onOutput: (part) => (text += part),
  })
  return countCargo(title, code, text)
}

/** What is published: its manifest, and its types as consumers resolve them. */
async function checkPackage(title) {
  const folder = '.cache/pack/check'
  rmSync(folder, { recursive: true, force: true })
  const { main: tarball } = await pack({ to: folder, platforms: [] })
  const codes = [
    await run([bin('publint'), 'run', '--strict', tarball]),
    await run([bin('attw'), tarball, '--profile', 'esm-only']),
  ]
  return codes.every((code) => code === 0) ? none() : failedStep(title)
}
