import { Ajv } from 'ajv'
import { expect, test } from 'vitest'
import { locateHelper } from '../../src/runtime/locate.ts'
import { run } from '../support/process.ts'
import { readSpec } from '../support/spec.ts'

test("what the helper says it understands has the specification's form", async () => {
  const { stdout } = await run(locateHelper(), ['oci', 'features'])
  const ajv = new Ajv({ strict: false })
  const files = ['defs.json', 'defs-linux.json', 'features-linux.json', 'features-schema.json']
  for (const file of files) {
    // Draft 4, whose name for itself is not known here.
    const { $schema: _, ...schema } = readSpec(`oci-runtime/${file}`) as Record<string, unknown>
    ajv.addSchema({ ...schema, $id: `https://runtime/${file}` })
  }
  const validate = ajv.getSchema('https://runtime/features-schema.json')
  const features: unknown = JSON.parse(stdout)
  void validate?.(features)
  expect(validate?.errors).toBe(null)
  expect(features).toMatchObject({
    ociVersionMin: '1.0.0',
    linux: { netDevices: { enabled: true }, intelRdt: { enabled: false } },
  })
})
