import { chmod, mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { converting, errnoOf } from './errno.ts'

/** Makes a directory and those above it that are missing, for their owner alone. One that is there stays as it is. */
export async function makePrivateDirectory(path: string): Promise<void> {
  await converting('create', path, () => make(path))
}

/** A root directory as images that say nothing of it have it, whatever this process's umask is. */
export async function makeRootDirectory(path: string): Promise<void> {
  await converting('create', path, async () => {
    await make(path)
    await chmod(path, 0o755)
  })
}

/** Node's own recursive mkdir says ENOENT of a file system that is read-only. */
async function make(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' && dirname(path) !== path) {
      await make(dirname(path))
      return await make(path)
    }
    // A read-only file system may say so even of a directory that is there.
    if ((errno === 'EEXIST' || errno === 'EROFS') && (await isDirectory(path))) return
    throw error
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
}
