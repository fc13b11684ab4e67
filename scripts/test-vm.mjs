/**
 * `npm run test:vm`: integration tests in a guest like the users' machines, as root and as an ordinary user. Without arguments those
 * that depend on the kind of machine; `-- --all` all, with every Node; `-- WORD...` the files whose path contains one of the words.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { bootstrap } from './bootstrap.mjs'
import { buildTypeScript } from './build.mjs'
import { close, failedStep, sum } from './lib/counts.mjs'
import { installNode } from './lib/nodes.mjs'
import { heading, main } from './lib/process.mjs'
import { guestImage } from './vm/image.mjs'
import { startMachine } from './vm/machine.mjs'
import { makePayload } from './vm/payload.mjs'
import { planRuns } from './vm/plan.mjs'

await main(import.meta, async (args) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { all: { type: 'boolean', default: false } },
  })
  await bootstrap({ tests: true })
  await buildTypeScript()
  const image = await guestImage()
  const folder = mkdtempSync(`${tmpdir()}/keelson-vm-`)
  try {
    const plan = { runs: planRuns({ all: values.all, words: positionals }) }
    const payload = await makePayload({ folder, node: await installNode('24'), plan })
    heading('guest')
    const results = `${folder}/results`
    const code = await startMachine({ ...image, payload, results })
    close(readResults(results, code, plan))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

/** The facts of the guest and each run are a line each; one that is missing was cut short. */
function readResults(file, code, plan) {
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean)
  const counts = lines.map((line) => JSON.parse(line))
  const missing = plan.runs.length + 1 - counts.length
  if (missing > 0) {
    counts.push(
      failedStep(`guest: ended (emulator's exit code ${code}) with ${missing} runs missing`),
    )
  }
  return sum(counts)
}
