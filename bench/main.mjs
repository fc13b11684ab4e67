// npm run bench -- [part...] [--long]: every number of docs/spec.md, as ratios in one run.
import { bootstrap } from '../scripts/bootstrap.mjs'
import { buildTypeScript } from '../scripts/build.mjs'
import { promises } from './promise.mjs'

const PARTS = ['import', 'run', 'network', 'exec', 'many', 'idle', 'pull', 'growth']

const words = process.argv.slice(2)
const asked = words.filter((word) => word !== '--long')
const unknown = asked.filter((word) => !PARTS.includes(word))
if (unknown.length > 0) {
  console.error(`unknown part ${unknown.join(', ')}; there are ${PARTS.join(', ')}, and --long`)
  process.exit(2)
}
await bootstrap()
await buildTypeScript()
for (const name of asked.length > 0 ? asked : PARTS) {
  const { bench } = await import(`./${name}.mjs`)
  await bench({ long: words.includes('--long') })
}
const broken = promises.filter(({ kept }) => !kept)
console.log(`\n${promises.length - broken.length} of ${promises.length} promises kept`)
for (const { name, text } of broken) console.log(`  NOT MET: ${name}: ${text}`)
process.exitCode = broken.length === 0 ? 0 : 1
