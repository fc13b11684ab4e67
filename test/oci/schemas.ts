import { Ajv, type ValidateFunction } from 'ajv'
import { readSpec } from '../support/spec.ts'

const FILES = [
  'config-schema.json',
  'content-descriptor.json',
  'defs-descriptor.json',
  'defs.json',
  'image-index-schema.json',
  'image-manifest-schema.json',
] as const

/** Validators of the OCI image specification. Its schemas are draft 4: identifiers are named otherwise there. */
export function imageSchemas(): Record<'manifest' | 'index' | 'config', ValidateFunction> {
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false })
  for (const file of FILES) {
    const schema = withoutIds(readSpec(`oci-image/${file}`))
    ajv.addSchema({ ...(schema as object), $id: `https://image/${file}` })
  }
  const validator = (file: (typeof FILES)[number]) => {
    const validate = ajv.getSchema(`https://image/${file}`)
    if (validate === undefined) throw new Error(`no schema ${file}`)
    return validate as ValidateFunction
  }
  return {
    manifest: validator('image-manifest-schema.json'),
    index: validator('image-index-schema.json'),
    config: validator('config-schema.json'),
  }
}

function withoutIds(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutIds)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => !((key === 'id' || key === '$schema') && typeof inner === 'string'))
      .map(([key, inner]) => [key, withoutIds(inner)]),
  )
}
