/** Builds everything a checkout can build: the helper for this machine and `dist/`. */
import { rmSync } from 'node:fs'
import { buildHelper } from './build-helper.mjs'
import { bin, main, mustRun, root } from './lib/process.mjs'

/** Compiles `src/` to `dist/`, from nothing: a file that was removed must not be published. */
export async function buildTypeScript() {
  rmSync(`${root}/dist`, { recursive: true, force: true })
  await mustRun([bin('tsc'), '-p', 'tsconfig.build.json'])
}

await main(import.meta, async () => {
  await buildHelper()
  await buildTypeScript()
})
