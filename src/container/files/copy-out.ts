import { mkdir, stat } from 'node:fs/promises'
import { basename, dirname, posix, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import type { RequestOptions } from '../../runtime/protocol.ts'
import { convertingFile, fileError } from '../../snapshot/files/failure.ts'
import { Files, type FileOptions, type RootAccess } from '../../snapshot/files/files.ts'
import { checkPath, shown } from '../../snapshot/files/names.ts'
import { offered, receive, send } from '../../snapshot/files/stream.ts'
import { converting, errnoOf } from '../../store/errno.ts'
import { destination, missing } from './copy-in.ts'

export interface CopyOutOptions extends FileOptions {
  /** What a symbolic link at the end of the path points to, instead of the link. Default false. */
  followLink?: boolean
}

/**
 * A file or directory of a container, running or not, as a tar archive: under its own name, or, for a path that ends in `/.`, what is in
 * the directory. Owners, modes, times to the nanosecond, links, devices and extended attributes are kept (PAX).
 *
 * The stream fails with `KEELSON_FILE_NOT_FOUND`, `KEELSON_NOT_A_FILE`, `KEELSON_PERMISSION`, `KEELSON_IO`, `KEELSON_ABORTED`. What is
 * not read is not archived; a stream that is destroyed ends the work.
 */
export function copyOut(access: RootAccess, path: string, options: CopyOutOptions = {}): Readable {
  checkPath(path)
  const normal = posix.normalize(posix.join('/', path))
  const contents = isContents(path)
  const name = contents ? '' : posix.basename(normal)
  const source = { path: normal, name, follow: options.followLink === true || contents }
  return offered(
    (request) => create(access, source, true, request),
    (error) => fileError(error, 'copy', shown(path)),
    options.signal,
  )
}

/**
 * The same into a path of this host, as `docker cp` does: into a directory that is there; else the copy becomes `to`.
 *
 * The container cannot make it write outside of the directory that is copied into: names are resolved in it by the kernel, and links are
 * made as they are, never followed out. What comes to lie on the host is the caller's, without set-id bits, capabilities, extended
 * attributes and devices.
 */
export async function copyToHost(
  access: RootAccess,
  path: string,
  to: string,
  options: CopyOutOptions = {},
): Promise<void> {
  const { signal, followLink = false } = options
  const contents = isContents(checkPath(path) as string)
  const follow = followLink || contents
  const files = new Files(access)
  const some = signal === undefined ? {} : { signal }
  const normal = posix.normalize(posix.join('/', path))
  const found = await (follow ? files.stat(normal, some) : files.lstat(normal, some))
  const target = resolve(to)
  const there = await converting('read', target, () => stat(target)).catch((error: unknown) => {
    if (errnoOf((error as { cause?: unknown }).cause) === 'ENOENT') return undefined
    throw error
  })
  const { directory, name } = destination(
    found.isDirectory(),
    contents && found.isDirectory(),
    there?.isDirectory(),
    { path: target, slash: to.endsWith('/'), base: posix.basename(normal) || basename(target) },
  )
  if (there === undefined) {
    await converting('read', dirname(target), () => stat(dirname(target))).catch(
      (error: unknown) => {
        throw missing(error, dirname(target))
      },
    )
  }
  if (found.isDirectory() && there === undefined) {
    await converting('create', target, () => mkdir(target, { mode: 0o755 }))
  }
  const archive = receive(
    (request) => create(access, { path: normal, name, follow }, true, request),
    signal,
  )
  await convertingFile('copy', shown(path), () =>
    send(
      (request) =>
        access.helper.request(
          'archive.extract',
          { directory, path: '/', devices: 'skip', tame: true, uid: 0, gid: 0 },
          request,
        ),
      archive,
      signal,
    ),
  )
}

/**
 * The whole root file system as a tar archive, without what is mounted in it: `docker export`. `engine.images.import` makes an image of
 * it.
 */
export function exportRoot(access: RootAccess, { signal }: FileOptions = {}): Readable {
  return offered(
    (request) => create(access, { path: '/', name: '', follow: false }, false, request),
    (error) => fileError(error, 'export', '/'),
    signal,
  )
}

async function create(
  access: RootAccess,
  source: { path: string; name: string; follow: boolean },
  submounts: boolean,
  request: RequestOptions,
): Promise<unknown> {
  await using root = await access.open({ write: false, submounts, signal: request.signal })
  return await access.helper.request(
    'archive.create',
    { ...root.place, sources: [source] },
    request,
  )
}

const isContents = (path: string) => /(?:^|\/)\.\/?$/.test(path)
