import { lstat } from 'node:fs/promises'
import { basename, dirname, posix, resolve } from 'node:path'
import { KeelsonError, keelsonError } from '../../errors.ts'
import { planFiles, type ImageFiles } from '../../image/files.ts'
import { arrange } from '../../image/layer-entry.ts'
import { packEntries } from '../../image/tar-layer.ts'
import type { RequestOptions } from '../../runtime/protocol.ts'
import { convertingFile } from '../../snapshot/files/failure.ts'
import type { FileOptions, RootAccess } from '../../snapshot/files/files.ts'
import { checkPath, shown } from '../../snapshot/files/names.ts'
import { receive, send } from '../../snapshot/files/stream.ts'
import { converting } from '../../store/errno.ts'
import { checkAttributes, ContainerFiles, pick, type FileAttributes } from './files.ts'

/**
 * What to copy into a container: the path of a file or directory of this host; a tar archive (plain, gzip or zstd) as bytes or a stream;
 * or an object of names and what they hold, as `engine.images.from` takes it: bytes are content, a string is a path of this host.
 */
export type CopySource = string | Uint8Array | AsyncIterable<Uint8Array> | ImageFiles

export interface CopyInOptions extends FileOptions, FileAttributes {
  /** Owner of everything. Default: 0 for files of this host; what an archive says. */
  uid?: number
  gid?: number
  /** Permission bits of every file; directories get the right to enter beside each right to read. Default: as they are. */
  mode?: number
}

/** What a container's copies need beside its files. */
export interface CopyAccess extends RootAccess {
  /** Whether device nodes in archives are made: not by an ordinary user. */
  devices: 'create' | 'skip'
  owners: 'keep' | 'squash'
}

/**
 * Copies into a container, running or not, as `docker cp` does: into a directory that is there; else a file or directory of the host
 * becomes `path`. A host path that ends in `/.` means what is in the directory. Archives and objects are unpacked into the directory
 * `path`, which is made when it is missing.
 *
 * What is there is replaced; directories are merged. On failure or abort what had been copied by then stays.
 *
 * @throws `KEELSON_INVALID_OPTION`, `KEELSON_FILE_NOT_FOUND`, `KEELSON_NOT_A_DIRECTORY`, `KEELSON_FILE_EXISTS` (a mount is in the way),
 * `KEELSON_ARCHIVE_INVALID`, `KEELSON_PERMISSION`, `KEELSON_NO_SPACE`, `KEELSON_IO`, `KEELSON_ABORTED`
 */
export async function copyIn(
  access: CopyAccess,
  source: CopySource,
  path: string,
  options: CopyInOptions = {},
): Promise<void> {
  checkAttributes(options)
  checkPath(path)
  const { archive, directory, owner } = await prepare(access, source, path, options)
  const args = {
    path: directory,
    create: true,
    devices: access.devices,
    owners: access.owners,
    ...owner,
    ...pick(options),
  }
  await convertingFile('copy to', shown(path), async () => {
    await using root = await access.open({ write: true, signal: options.signal })
    const start = (request: RequestOptions) =>
      access.helper.request('archive.extract', { ...root.place, ...args }, request)
    await send(start, archive, options.signal)
  })
}

interface Prepared {
  archive: AsyncIterable<Uint8Array>
  /** What names in the archive are relative to. */
  directory: string
  owner: FileAttributes
}

async function prepare(
  access: CopyAccess,
  source: CopySource,
  path: string,
  options: CopyInOptions,
): Promise<Prepared> {
  const directory = posix.normalize(posix.join('/', path))
  if (typeof source === 'string') return await fromHost(access, source, path, options)
  if (source instanceof Uint8Array) {
    return { archive: once(source), directory, owner: {} }
  }
  if (typeof source !== 'object' || source === null) {
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      'What to copy is a host path, an archive or an object of files.',
      {
        option: 'source',
      },
    )
  }
  if (isIterable(source)) return { archive: source, directory, owner: {} }
  const now = new Date()
  const rooted = Object.entries(source).map(
    ([name, file]) => [posix.join('/', name), file] as const,
  )
  const entries = arrange(await planFiles(Object.fromEntries(rooted), now), now)
  return { archive: packEntries(entries), directory, owner: {} }
}

async function fromHost(
  access: CopyAccess,
  source: string,
  path: string,
  { signal }: CopyInOptions,
): Promise<Prepared> {
  const from = resolve(source)
  const found = await converting('read', from, () => lstat(from)).catch((error: unknown) => {
    throw missing(error, from)
  })
  const contents = found.isDirectory() && /(?:^|\/)\.\/?$/.test(source)
  const target = await new ContainerFiles(access)
    .stat(path, signal === undefined ? {} : { signal })
    .catch((error: unknown) => {
      if (KeelsonError.is(error) && error.code === 'KEELSON_FILE_NOT_FOUND') return undefined
      throw error
    })
  const normal = posix.normalize(posix.join('/', path))
  const { directory, name } = destination(found.isDirectory(), contents, target?.isDirectory(), {
    path: normal.replace(/(?<=.)\/$/, ''),
    slash: path.endsWith('/'),
    base: basename(from),
  })
  const create = (request: RequestOptions) =>
    access.helper.request(
      'archive.create',
      { directory: dirname(from), sources: [{ path: basename(from) || '.', name }] },
      request,
    )
  return { archive: receive(create, signal), directory, owner: { uid: 0, gid: 0 } }
}

/** `docker cp`'s table: where the archive is unpacked, and what the file is called in it. */
export function destination(
  isDirectory: boolean,
  contents: boolean,
  targetIsDirectory: boolean | undefined,
  { path, slash, base }: { path: string; slash: boolean; base: string },
): { directory: string; name: string } {
  if (targetIsDirectory === true) {
    return contents ? { directory: path, name: '' } : { directory: path, name: base }
  }
  if (isDirectory) {
    if (targetIsDirectory === undefined) return { directory: path, name: '' }
    throw keelsonError(
      'KEELSON_NOT_A_DIRECTORY',
      `A directory cannot replace the file "${path}".`,
      {
        path,
        hint: 'Remove it first, or choose another path.',
      },
    )
  }
  if (slash) {
    throw keelsonError('KEELSON_NOT_A_DIRECTORY', `"${path}/" is not a directory.`, {
      path,
      hint: 'Make it first, or leave the slash out to give the file that name.',
    })
  }
  return { directory: posix.dirname(path), name: posix.basename(path) }
}

/** @internal */
export function missing(error: unknown, path: string): unknown {
  const errno = KeelsonError.is(error) && 'errno' in error ? error.errno : undefined
  if (errno !== 'ENOENT' && errno !== 'ENOTDIR') return error
  return keelsonError('KEELSON_FILE_NOT_FOUND', `This host has no "${path}".`, {
    cause: error,
    path,
  })
}

function isIterable(source: object): source is AsyncIterable<Uint8Array> {
  return Symbol.asyncIterator in source
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes
}
