import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { root } from '../support/repository.ts'

/** Fewer where the processor is emulated: it is as slow in using an engine as in killing it. */
const rounds = process.env['KEELSON_TEST_SLOWNESS'] === undefined ? 4 : 2

it('kills at random moments leave nothing that the next engine does not repair', async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['torture/main.mjs', '--rounds', `${rounds}`, '--seed', '400'],
    {
      cwd: root,
    },
  ).catch((error: { stdout: string }) => error)
  expect(stdout).toContain(`${rounds} of ${rounds} rounds left nothing behind`)
})
