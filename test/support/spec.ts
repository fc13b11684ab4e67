import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A document of the specifications that lie in `shared/spec` beside the repository (or beside a folder of worktrees). */
export function readSpec(path: string): unknown {
  let directory = fileURLToPath(new URL('../..', import.meta.url))
  for (;;) {
    const file = join(directory, 'shared/spec', path)
    if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8'))
    if (dirname(directory) === directory) throw new Error(`there is no shared/spec/${path} above`)
    directory = dirname(directory)
  }
}
