/** What `.ci/run` does: `npm test`, then `npm run test:vm`, then one closing line for both. */
import { closingLine, readClosing } from './lib/counts.mjs'
import { heading, main, run } from './lib/process.mjs'

await main(import.meta, async () => {
  const total = { passed: 0, failed: 0, skipped: 0 }
  for (const script of ['test', 'test:vm']) {
    heading(`npm run ${script}`)
    let text = ''
    const code = await run(['npm', 'run', '--silent', script], {
      onOutput: (part) => (text += part),
    })
    const closing = readClosing(text) ?? { passed: 0, failed: 0, skipped: 0 }
    total.passed += closing.passed
    total.failed += closing.failed
    total.skipped += closing.skipped
    // an exit code that the counts do not explain
    if (code !== 0 && closing.failed === 0) total.failed += 1
  }
  closingLine(total)
})
