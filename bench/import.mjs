import { execFileSync } from 'node:child_process'
import { alternate, print, summary } from './measure.mjs'
import { promise } from './promise.mjs'

const entry = new URL('../dist/index.js', import.meta.url).href

/** Milliseconds and resident bytes of a Node process that runs `source`, told by itself. */
function node(source) {
  const program = `const start = performance.now(); ${source};
    console.log(JSON.stringify([performance.now() - start, process.memoryUsage.rss()]))`
  return JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }),
  )
}

/** What `import 'keelson'` costs over a bare Node. */
export async function bench({ long }) {
  const memory = { bare: [], keelson: [] }
  const side = (name, source) => ({
    name,
    once: async () => {
      const [milliseconds, rss] = node(source)
      memory[name].push(rss)
      return milliseconds
    },
  })
  const results = await alternate(
    [side('bare', ''), side('keelson', `await import(${JSON.stringify(entry)})`)],
    { rounds: long ? 40 : 15 },
  )
  print('import', results)
  const cost = results.get('keelson').median - results.get('bare').median
  promise('import keelson', cost, 40, 'ms')
  promise(
    'memory of the import',
    (summary(memory.keelson).median - summary(memory.bare).median) / 1e6,
    8,
    'MB',
  )
}
