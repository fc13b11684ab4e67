import { KeelsonError, keelsonError, type ErrorCode } from '../errors.ts'
import { helperFailure } from '../runtime/connection.ts'

/** The one place where a failed system call of the storage becomes an error with a code. */
export function storageError(cause: unknown, doing: string, path: string): KeelsonError {
  const failure = helperFailure(cause)
  // What has a code of its own keeps it: an abort, a helper that is gone.
  if (KeelsonError.is(cause) && failure?.errno === undefined) return cause
  const errno = failure?.errno ?? errnoOf(cause)
  const known = errno === undefined ? undefined : KNOWN[errno]
  const [code, why, hint] = known ?? UNKNOWN
  const detail = known === undefined ? ` (${errno ?? describe(cause)})` : ''
  return keelsonError(code, `Cannot ${doing} "${path}": ${why}${detail}.`, {
    hint,
    cause,
    path,
    errno,
  })
}

/** Runs `work` and converts whatever it throws by {@link storageError}. */
export async function converting<T>(doing: string, path: string, work: () => Promise<T>) {
  try {
    return await work()
  } catch (error) {
    throw storageError(error, doing, path)
  }
}

/** `ENOENT` and its like, from an error of Node's file system. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

const SPACE = 'Free some space there: engine.images.prune() removes what nothing uses.'
const RIGHTS = 'Run as a user that may write there, or choose another `root`.'

const KNOWN: Partial<Record<string, [ErrorCode, string, string]>> = {
  ENOSPC: ['KEELSON_NO_SPACE', 'no space is left on the device', SPACE],
  EDQUOT: ['KEELSON_NO_SPACE', 'the disk quota is used up', SPACE],
  EFBIG: ['KEELSON_NO_SPACE', 'the file system does not hold a file of this size', SPACE],
  EACCES: ['KEELSON_PERMISSION', 'permission denied', RIGHTS],
  EPERM: ['KEELSON_PERMISSION', 'the operation is not permitted', RIGHTS],
  EROFS: ['KEELSON_PERMISSION', 'the file system is read-only', RIGHTS],
}

const UNKNOWN: [ErrorCode, string, string] = [
  'KEELSON_IO',
  'the file system refused',
  'The cause holds the system call; the kernel log may say more about the disk.',
]

const describe = (error: unknown) => (error instanceof Error ? error.message : String(error))
