/** Builds everything a checkout can build: the helper for this machine and `dist/`. */
import { cpSync, readFileSync, rmSync } from 'node:fs'
import { buildHelper } from './build-helper.mjs'
import { bin, main, mustRun, root } from './lib/process.mjs'

/** What is published has few modules: docs/decisions/0008-few-modules.md. */
const ENTRIES = ['index', 'registry-server/index']

/**
 * Compiles `src/` to `build/`, module by module, and bundles that to `dist/`, which has the types of the former. From nothing, unless
 * `keep` is set: a file that was removed must not be published.
 *
 * @param {{ keep?: boolean }} [options]
 */
export async function buildTypeScript({ keep = false } = {}) {
  if (!keep)
    for (const name of ['build', 'dist'])
      rmSync(`${root}/${name}`, { recursive: true, force: true })
  await mustRun([bin('tsc'), '-p', 'tsconfig.build.json'])
  await bundle()
  cpSync(`${root}/build`, `${root}/dist`, {
    recursive: true,
    filter: (path) => !path.endsWith('.js'),
  })
}

async function bundle() {
  // On a fresh clone it is not there before this is called.
  const { build } = await import('rolldown')
  const { dependencies } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))
  await build({
    cwd: root,
    input: Object.fromEntries(ENTRIES.map((name) => [name, `build/${name}.js`])),
    platform: 'node',
    external: [/^node:/, ...Object.keys(dependencies)],
    output: {
      dir: 'dist',
      // The same name for the same content: what is older does not stay beside it.
      chunkFileNames: 'chunks/[name].js',
      comments: false,
    },
  })
}

// With `--typescript`, that alone, over what is there.
await main(import.meta, async ([only]) => {
  if (only === '--typescript') return await buildTypeScript({ keep: true })
  await buildHelper()
  await buildTypeScript()
})
