import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Docker's published profile, as a value of unknown shape. */
export function publishedProfile(): unknown {
  const beside = fileURLToPath(new URL('../../../../shared/spec', import.meta.url))
  const directory = process.env['KEELSON_SPEC'] ?? beside
  const path = `${directory}/moby-seccomp-default.json`
  if (!existsSync(path)) throw new Error(`${path} is missing; KEELSON_SPEC names its directory`)
  return JSON.parse(readFileSync(path, 'utf8'))
}
