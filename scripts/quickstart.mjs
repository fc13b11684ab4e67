/** `npm run quickstart [-- IMAGE COMMAND...]`: from a fresh clone to a running container, saying what happens. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { bootstrap } from './bootstrap.mjs'
import { buildTypeScript } from './build.mjs'
import { heading, main, root } from './lib/process.mjs'

await main(import.meta, async ([image, ...command]) => {
  if (process.platform !== 'linux') {
    throw new Error('Keelson runs Linux containers: use a Linux machine or virtual machine.')
  }
  await bootstrap()
  if (!compiled()) {
    heading('dist/')
    await buildTypeScript()
  }
  // Only now is there something to import.
  const { embedded, pulled } = await import('./quickstart/main.mjs')
  await (image === undefined ? embedded() : pulled(image, command))
})

/** Whether `dist/` is newer than every source. */
function compiled() {
  const entry = `${root}/dist/index.js`
  if (!existsSync(entry)) return false
  const built = statSync(entry).mtimeMs
  const sources = readdirSync(`${root}/src`, { recursive: true, withFileTypes: true })
  return sources.every((file) => statSync(`${file.parentPath}/${file.name}`).mtimeMs <= built)
}
