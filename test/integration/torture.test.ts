import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { root } from '../support/repository.ts'

it('kills at random moments leave nothing that the next engine does not repair', async () => {
  const { stdout } = await promisify(execFile)('node', ['torture/main.mjs', '--rounds', '12'], {
    cwd: root,
  }).catch((error: { stdout: string }) => error)
  expect(stdout).toContain('12 of 12 rounds left nothing behind')
})
