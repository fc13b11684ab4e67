import { randomBytes } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { converting, errnoOf, storageError } from './errno.ts'

/** What every temporary name of a record ends with, so that a sweep knows those that a crash left. */
export const TEMPORARY_SUFFIX = '.tmp'

/**
 * Replaces a file whole or not at all: readers see the old bytes or the new ones, and after a power cut too when
 * `durable` (the bytes reach the disk before the name does).
 *
 * @param modified becomes the time of last modification, for readers that compare it
 */
export async function writeRecord(
  path: string,
  bytes: string | Uint8Array,
  { durable, modified }: { durable: boolean; modified?: Date | number },
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}${TEMPORARY_SUFFIX}`
  await converting('write', path, async () => {
    try {
      const file = await open(temporary, 'wx', 0o644)
      try {
        await file.writeFile(bytes)
        if (modified !== undefined) await file.utimes(modified, modified)
        if (durable) await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined)
      throw error
    }
  })
  if (durable) await syncDirectory(dirname(path))
}

/** The file's bytes; `undefined` when there is no such file. */
export async function readRecord(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw storageError(error, 'read', path)
  }
}

/** By directory: the sync under way, and the one that begins when it has ended. */
const running = new Map<string, Promise<void>>()
const next = new Map<string, Promise<void>>()

/**
 * Makes names that were made, changed or removed in a directory survive a power cut. Whoever comes while a sync is under way, which may
 * be too early for his names, is served by the next one, together with all others who wait.
 */
export function syncDirectory(path: string): Promise<void> {
  const waiting = next.get(path)
  if (waiting !== undefined) return waiting
  const start = (): Promise<void> => {
    next.delete(path)
    const sync = syncNow(path).finally(() => {
      if (running.get(path) === sync) running.delete(path)
    })
    running.set(path, sync)
    return sync
  }
  const before = running.get(path)
  if (before === undefined) return start()
  const after = before.then(start, start)
  next.set(path, after)
  return after
}

async function syncNow(path: string): Promise<void> {
  await converting('write', path, async () => {
    const directory = await open(path, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  })
}
