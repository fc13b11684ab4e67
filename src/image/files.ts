import { lstat, readdir, readlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { keelsonError } from '../errors.ts'
import { errnoOf, storageError } from '../store/errno.ts'
import { printable } from '../util/printable.ts'
import type { LayerEntry } from './layer-entry.ts'

/**
 * What is to be in an image: absolute path -> content. A string is the path of a file or directory of this host (a directory is taken
 * with all that is in it, symbolic links as links); bytes are the content itself; an {@link ImageFile} says more.
 */
export type ImageFiles = Record<string, string | Uint8Array | ImageFile>

/** A file, directory or symbolic link of an image. Give one of `content`, `path`, `link` and `directory`. */
export interface ImageFile {
  /** The content itself; a string is written as UTF-8. */
  content?: string | Uint8Array
  /** A file or directory of this host. */
  path?: string
  /** Where a symbolic link points to; not looked up. */
  link?: string
  /** An empty directory. */
  directory?: true
  /** Permission bits. Default: the host file's; else 0755 for directories and 0644. */
  mode?: number
  /** Default 0, whoever owns the host's file. */
  uid?: number
  /** Default 0. */
  gid?: number
  /** Default 1970-01-01, so that the same files give the same image. */
  mtime?: Date
}

const MAX_ID = 2 ** 32 - 2

/**
 * Checks what the caller wrote and looks up what lies on the host; file contents are not read yet.
 *
 * @throws `KEELSON_INVALID_OPTION`; `KEELSON_PERMISSION` and `KEELSON_IO` for the host's files
 */
export async function planFiles(files: ImageFiles, mtime: Date): Promise<LayerEntry[]> {
  const checked = Object.entries(files).map(([path, given]) => checkFile(path, given))
  const entries: LayerEntry[] = []
  for (const [path, file] of checked) entries.push(...(await entriesOf(path, file, mtime)))
  return entries
}

async function entriesOf(path: string, file: ImageFile, mtime: Date): Promise<LayerEntry[]> {
  const { uid = 0, gid = 0, mode } = file
  const attributes = { path, uid, gid, mtime: file.mtime ?? mtime }
  if (file.path !== undefined) return await hostEntries(resolve(file.path), file, attributes)
  if (file.link !== undefined) {
    return [{ ...attributes, type: 'link', target: file.link, mode: 0o777 }]
  }
  if (file.directory === true) return [{ ...attributes, type: 'directory', mode: mode ?? 0o755 }]
  const content = Buffer.from(file.content ?? '')
  return [{ ...attributes, type: 'file', content, mode: mode ?? 0o644 }]
}

type Place = Pick<LayerEntry, 'path' | 'uid' | 'gid' | 'mtime'>

async function hostEntries(source: string, file: ImageFile, place: Place): Promise<LayerEntry[]> {
  try {
    const found = await lstat(source)
    const mode = file.mode ?? found.mode & 0o7777
    if (found.isFile()) return [{ ...place, type: 'file', content: { path: source }, mode }]
    if (found.isSymbolicLink()) {
      return [{ ...place, type: 'link', target: await readlink(source), mode: 0o777 }]
    }
    if (!found.isDirectory()) {
      throw invalid(place.path, `"${source}" is neither a file, a directory nor a symbolic link`)
    }
    const entries: LayerEntry[] = [{ ...place, type: 'directory', mode: found.mode & 0o7777 }]
    for (const name of await readdir(source)) {
      const child = { ...place, path: join(place.path, name) }
      entries.push(...(await hostEntries(join(source, name), file, child)))
    }
    return entries
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') {
      throw keelsonError('KEELSON_INVALID_OPTION', `"${source}" is not there.`, {
        hint: 'A string is the path of a file on this host; give content as bytes, or as { content }.',
        cause: error,
        path: source,
      })
    }
    throw storageError(error, 'read', source)
  }
}

function checkFile(path: string, given: ImageFiles[string]): [path: string, file: ImageFile] {
  if (!path.startsWith('/') || path.includes('\0') || path.split('/').includes('..')) {
    throw invalid(path, 'is not an absolute path without ".."')
  }
  const normal = join('/', path).replace(/(?<=.)\/$/, '')
  if (normal === '/') throw invalid(path, 'is the root itself')
  if (typeof given === 'string') return [normal, { path: given }]
  if (given instanceof Uint8Array) return [normal, { content: given }]
  const kinds = [given.content, given.path, given.link, given.directory]
  if (kinds.filter((kind) => kind !== undefined).length !== 1) {
    throw invalid(path, 'needs exactly one of content, path, link and directory')
  }
  if (given.link === '' || given.link?.includes('\0') === true) {
    throw invalid(path, 'has a link target that no link can have')
  }
  checkNumber(path, 'mode', given.mode, 0o7777)
  checkNumber(path, 'uid', given.uid, MAX_ID)
  checkNumber(path, 'gid', given.gid, MAX_ID)
  const time = given.mtime?.getTime()
  if (time !== undefined && !(time >= 0)) throw invalid(path, 'has an mtime before 1970, or none')
  return [normal, given]
}

function checkNumber(path: string, name: string, value: number | undefined, max: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= 0 && value <= max)) return
  throw invalid(path, `has a ${name} that is not a whole number from 0 to ${max}`)
}

function invalid(path: string, problem: string) {
  return keelsonError('KEELSON_INVALID_OPTION', `"${printable(path)}" ${problem}.`, { path })
}
