import { mkdirSync } from 'node:fs'
import { storageError } from '../../store/errno.ts'
import type { ContainerCore } from '../core.ts'

/** The directory of a container's run: of its monitor, its locks, and what tells of its networks. */
export async function makeRunDirectory(core: ContainerCore): Promise<void> {
  const { run } = core.record
  try {
    mkdirSync(run, { recursive: true, mode: 0o700 })
  } catch (error) {
    // Another process may be removing the container.
    await core.mustBeThere()
    throw storageError(error, 'create', run)
  }
}
