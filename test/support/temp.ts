import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A directory that goes with its scope. */
export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string
  /** A path in it. */
  join(...parts: string[]): string
}

/**
 * Makes an empty directory.
 *
 * @example
 * ```ts
 * await using temp = await temporaryDirectory()
 * await writeFile(temp.join('a'), 'content')
 * ```
 */
export async function temporaryDirectory(prefix = 'keelson-test-'): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(tmpdir(), prefix))
  return {
    path,
    join: (...parts) => join(path, ...parts),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 3 }),
  }
}
