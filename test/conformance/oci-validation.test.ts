import { writeFile } from 'node:fs/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { locateHelper } from '../../src/runtime/locate.ts'
import { buildValidation } from '../support/oci-validation.ts'
import { run } from '../support/process.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { exceptions } from './oci-exceptions.ts'
import { failures } from './tap.ts'

const temp = await temporaryDirectory('keelson-validation-')
const runtime = temp.join('runtime')
const script = `#!/bin/sh\nexec '${locateHelper()}' oci --root '${temp.join('root')}' "$@"\n`
await writeFile(runtime, script, { mode: 0o755 })
const { directory, programs } = await buildValidation()

afterAll(() => temp[Symbol.asyncDispose]())

/** Those of cgroups use one name for theirs, so one after the other. */
const cgroups = programs.filter((program) =>
  /^(?:delete_resources|linux_cgroups_.*)$/.test(program),
)
const others = programs.filter((program) => !cgroups.includes(program))

async function validate(program: string): Promise<void> {
  const env = { RUNTIME: runtime, TMPDIR: temp.path }
  const output = await run(`./${program}`, [], { cwd: directory, env, anyExit: true })
  const found = failures(output)
  const known = exceptions().filter((exception) => exception.program.test(program))
  const unknown = found.filter((text) => !known.some(({ failure }) => failure.test(text)))
  expect(unknown).toEqual([])
  const gone = known.filter(
    ({ failure, sometimes }) => !sometimes && !found.some((text) => failure.test(text)),
  )
  expect(gone, 'exceptions that are none any more').toEqual([])
}

describe('the validation programs of the runtime specification', () => {
  test('are all there', () => expect(programs.length).toBeGreaterThan(50))
  describe('of cgroups', () => {
    test.each(cgroups)('%s', validate)
  })
  describe.concurrent('of all else', () => {
    test.each(others)('%s', validate)
  })
})
