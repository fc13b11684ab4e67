import { run } from './process.ts'
import { root } from './repository.ts'

/**
 * Before the integration tests: the Debian packages they use, the helper, and `dist/` (which an ordinary user's Node runs). Each does
 * nothing, quickly, when there is nothing to do.
 */
export default async function setup(): Promise<void> {
  if (process.env['KEELSON_TEST_BUILT'] === '1') return // in the guest, where everything was brought along
  await run(process.execPath, ['scripts/bootstrap.mjs', '--tests'], { cwd: root })
  await run(process.execPath, ['scripts/build.mjs', '--typescript'], { cwd: root })
}
