// npm run bench [section...]: every number of docs/spec.md, as ratios in one run.
import { allKept } from './promise.mjs'

const SECTIONS = ['import', 'run', 'pull']

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !SECTIONS.includes(name))
if (unknown.length > 0) {
  console.error(`unknown section ${unknown.join(', ')}; there are ${SECTIONS.join(', ')}`)
  process.exit(2)
}
for (const name of asked.length > 0 ? asked : SECTIONS) {
  const { bench } = await import(`./${name}.mjs`)
  await bench()
}
process.exitCode = allKept() ? 0 : 1
