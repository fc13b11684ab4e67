import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it, vi } from 'vitest'
import { root } from '../support/repository.ts'

/** Fewer where the processor is emulated: it is as slow in using an engine as in killing it. */
const slow = process.env['KEELSON_TEST_SLOWNESS'] !== undefined
const rounds = slow ? 1 : 3

// Many programs are started and killed, one after the other.
vi.setConfig({ testTimeout: 180_000 })

it('kills at random moments leave nothing that the next engine does not repair', async () => {
  const output = await torture('--rounds', `${rounds}`, '--seed', '400')
  expect(output).toContain(`${rounds} of ${rounds} rounds left nothing behind`)
})

it('a program killed in the middle of any operation leaves nothing that the next engine does not repair', async () => {
  const output = await torture(
    '--sweep',
    'all',
    '--strike',
    'node',
    '--every',
    '100',
    '--seed',
    '7',
  )
  expect(output).toMatch(/^(\d+) of \1 strikes left nothing behind$/m)
})

it('a container has one name after a kill at any step of its renaming', async () => {
  const every = slow ? '12' : '3'
  const output = await torture('--sweep', 'rename', '--strike', 'node', '--every', every)
  expect(output).toMatch(/^(\d+) of \1 strikes left nothing behind$/m)
})

async function torture(...options: string[]): Promise<string> {
  const command = ['torture/main.mjs', '--seed', '0', ...options]
  const { stdout } = await promisify(execFile)(process.execPath, command, { cwd: root }).catch(
    (error: { stdout: string }) => error,
  )
  return stdout
}
