import { open, readdir, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errnoOf, storageError } from '../../store/errno.ts'

/** A log file that is held open, so that its rotation takes nothing away. */
export interface LogFile {
  name: string
  handle: FileHandle
  /** Says which file it is, whatever its name. */
  inode: bigint
  /** When it was opened. */
  size: number
  /** Milliseconds. As of its opening, nothing was written to it later. */
  modified: number
}

/** A log that is rotated all the time is taken as it was found the last time. */
const ATTEMPTS = 20

/**
 * Opens the log at `path` and the files it was rotated to, oldest first: as their names were at one moment, so none is missed and none is
 * there twice.
 */
export async function openLogFiles(path: string): Promise<LogFile[]> {
  for (let attempt = 1; ; attempt++) {
    const files = await openNewestFirst(path)
    try {
      if (attempt === ATTEMPTS || (await isUnchanged(path, files))) return files.toReversed()
    } catch (error) {
      await closeFiles(files)
      throw storageError(error, 'read the log', path)
    }
    await closeFiles(files)
  }
}

export async function closeFiles(files: Iterable<LogFile>): Promise<void> {
  await Promise.all([...files].map(async ({ handle }) => await handle.close()))
}

/** In this order what is renamed meanwhile is met twice, but not missed. */
async function openNewestFirst(path: string): Promise<LogFile[]> {
  const files: LogFile[] = []
  try {
    for (const name of await namesOf(path)) {
      const handle = await openIfThere(name)
      if (handle === undefined) continue
      const { ino, size, mtimeMs } = await handle.stat({ bigint: true })
      const file = { name, handle, inode: ino, size: Number(size), modified: Number(mtimeMs) }
      if (files.some(({ inode }) => inode === ino)) await handle.close()
      else files.push(file)
    }
    return files
  } catch (error) {
    await closeFiles(files)
    throw storageError(error, 'read the log', path)
  }
}

async function isUnchanged(path: string, files: readonly LogFile[]): Promise<boolean> {
  const names = await namesOf(path)
  if (names.length !== files.length) return false
  const inodes = await Promise.all(names.map(inodeOf))
  return files.every(({ inode }, index) => inodes[index] === inode)
}

/** `undefined`: there is no such file. */
export async function inodeOf(name: string): Promise<bigint | undefined> {
  try {
    return (await stat(name, { bigint: true })).ino
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

async function openIfThere(name: string): Promise<FileHandle | undefined> {
  try {
    return await open(name, 'r')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** `path`, `path.1`, `path.2`, ..., those that are there. */
async function namesOf(path: string): Promise<string[]> {
  const base = basename(path)
  const numbers: number[] = []
  for (const name of await entries(dirname(path))) {
    if (name === base) numbers.push(0)
    const digits = name.startsWith(`${base}.`) ? name.slice(base.length + 1) : ''
    if (/^[1-9]\d{0,8}$/.test(digits)) numbers.push(Number(digits))
  }
  return numbers
    .toSorted((a, b) => a - b)
    .map((number) => join(dirname(path), number === 0 ? base : `${base}.${number}`))
}

async function entries(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}
