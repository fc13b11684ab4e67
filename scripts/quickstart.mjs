// npm run quickstart [-- IMAGE COMMAND...]: from a fresh clone to a running container, saying what happens.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const [image, ...command] = process.argv.slice(2)

if (process.platform !== 'linux') {
  console.error(
    'Keelson runs Linux containers and needs a Linux kernel; use a Linux machine or virtual machine.',
  )
  process.exit(1)
}
execFileSync(process.execPath, ['scripts/bootstrap.mjs', '--build'], {
  cwd: root,
  stdio: 'inherit',
})

// Only now is there something to import.
const { embedded, pulled } = await import('./quickstart/main.mjs')
await (image === undefined ? embedded() : pulled(image, command))
