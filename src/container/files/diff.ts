import type { CompareRoots, Helper } from '../../runtime/protocol.ts'
import { convertingFile } from '../../snapshot/files/failure.ts'
import { readList, type FileOptions } from '../../snapshot/files/files.ts'
import { fromWire } from '../../snapshot/files/names.ts'
import type { FileType } from '../../snapshot/files/stat.ts'

/** One file that is not as it was in the image. */
export interface FileChange {
  kind: 'added' | 'changed' | 'deleted'
  /** Absolute. */
  path: string
  /** Its bytes: the same as `path` unless they are no UTF-8. */
  pathBytes: Buffer
  /** What it is; of a deleted one, what it was. */
  type: FileType
}

/** A container's root file system and the image's, as long as they may be compared. */
export interface OpenComparison extends AsyncDisposable {
  roots: CompareRoots
}

/** What comparing and committing need of a container. */
export interface ChangeAccess {
  readonly helper: Helper
  /** Keeps both root file systems until it is disposed of. */
  compare(options: FileOptions): Promise<OpenComparison>
}

/**
 * What a container changed in its root file system, sorted as an archive is: a directory before what is in it. What is mounted in it, and
 * what was made to mount it on, does not count. A directory is `changed` with anything in it.
 */
export async function diffContainer(
  access: ChangeAccess,
  options: FileOptions = {},
): Promise<FileChange[]> {
  const { signal } = options
  const changes = await convertingFile('compare', '/', async () => {
    await using comparison = await access.compare(options)
    return await readList(
      (request) => access.helper.request('tree.diff', comparison.roots, request),
      signal,
    )
  })
  return changes.map(({ kind, path, type }) => {
    const inner = fromWire(path)
    const relative = inner.equals(ROOT) ? Buffer.alloc(0) : inner
    const pathBytes = Buffer.concat([Buffer.from('/'), relative])
    return { kind, path: pathBytes.toString('utf8'), pathBytes, type }
  })
}

const ROOT = Buffer.from('.')
