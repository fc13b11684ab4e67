import { keelsonError, KeelsonError, type ErrorCode } from '../../errors.ts'
import { helperFailure } from '../../runtime/connection.ts'
import { storageError } from '../../store/errno.ts'

/** The one place where a failure on a file of a container or an image becomes an error with a code. */
export function fileError(cause: unknown, doing: string, path: string): KeelsonError {
  const failure = helperFailure(cause)
  if (failure?.kind === 'not-running') {
    return keelsonError(
      'KEELSON_CONTAINER_STATE',
      `Cannot ${doing} "${path}": the container ended meanwhile.`,
      { cause, path, hint: 'Try again: files of stopped containers can be used, too.' },
    )
  }
  if (failure?.kind === 'layer-invalid' || failure?.kind === 'layer-limit') {
    return keelsonError(
      'KEELSON_ARCHIVE_INVALID',
      `Cannot ${doing} "${path}": the archive is malformed (${failure.detail ?? failure.step}).`,
      { cause, path, entry: failure.path, hint: 'Give a tar archive: plain, gzip or zstd.' },
    )
  }
  if (failure?.kind === 'id-unmapped') {
    return keelsonError(
      'KEELSON_PERMISSION',
      `Cannot ${doing} "${path}": ${failure.detail ?? 'an owner has no id here'}.`,
      { cause, path, hint: 'Give uid and gid that the container has.' },
    )
  }
  // What fails before any of the container's files is looked at is not about them.
  const about =
    failure?.errno !== undefined && !/mount|overlay|attach|bind|root file system/.test(failure.step)
  const known = about ? KNOWN[failure.errno ?? ''] : undefined
  if (known === undefined) return storageError(cause, doing, path)
  const [code, why, hint] = known
  const at = failure?.path === undefined || failure.path === path ? '' : ` (${failure.path})`
  return keelsonError(code, `Cannot ${doing} "${path}": ${why}${at}.`, {
    hint,
    cause,
    path,
    errno: failure?.errno,
  })
}

/** Runs `work` and converts whatever it throws by {@link fileError}. */
export async function convertingFile<T>(
  doing: string,
  path: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw fileError(error, doing, path)
  }
}

/** What `fs.read` says of a single file. */
export function readError(errno: string, path: string): KeelsonError {
  const cause = keelsonError(
    'KEELSON_HELPER_FAILED',
    `The helper could not read ${path}: ${errno}.`,
    {
      failure: { step: 'read a file', errno },
    },
  )
  return fileError(cause, 'read', path)
}

const KNOWN: Partial<Record<string, [ErrorCode, string, string]>> = {
  ENOENT: [
    'KEELSON_FILE_NOT_FOUND',
    'there is no such file',
    'Check the path; files.readdir() lists a directory.',
  ],
  EEXIST: [
    'KEELSON_FILE_EXISTS',
    'there is one already',
    'Remove it first, or choose another path.',
  ],
  ENOTEMPTY: [
    'KEELSON_FILE_EXISTS',
    'the directory is not empty',
    'Remove it with { recursive: true }.',
  ],
  ENOTDIR: ['KEELSON_NOT_A_DIRECTORY', 'a part of the path is not a directory', 'Check the path.'],
  EISDIR: [
    'KEELSON_IS_A_DIRECTORY',
    'it is a directory',
    'Name a file; rm takes { recursive: true }.',
  ],
  EINVAL: [
    'KEELSON_NOT_A_FILE',
    'it is not a regular file',
    'Devices, pipes and sockets have no content to copy.',
  ],
  ELOOP: [
    'KEELSON_NOT_A_FILE',
    'symbolic links lead round, or out of the container',
    'Links of /proc that name open files and roots are not followed.',
  ],
  EBUSY: [
    'KEELSON_FILE_EXISTS',
    'something is mounted there',
    'Mounts and the root itself cannot be replaced or removed.',
  ],
  ENAMETOOLONG: [
    'KEELSON_INVALID_OPTION',
    'the path is too long',
    'Linux takes 255 bytes a name and 4,095 a path.',
  ],
}
