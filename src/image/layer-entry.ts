import { keelsonError } from '../errors.ts'

/** One file, directory or symbolic link of a layer that is about to be written. */
export type LayerEntry = LayerAttributes & (LayerFile | LayerDirectory | LayerLink)

/** What every entry has. */
export interface LayerAttributes {
  /** Absolute, normal, in the image. */
  path: string
  /** Permission bits, with setuid, setgid and sticky. */
  mode: number
  uid: number
  gid: number
  mtime: Date
}

export interface LayerFile {
  type: 'file'
  /** Bytes, or a file of the host that is read when its turn comes. */
  content: Uint8Array | { path: string }
}

export interface LayerDirectory {
  type: 'directory'
}

export interface LayerLink {
  type: 'link'
  target: string
}

/**
 * The entries in the order of an archive: parents before children, then by path, with the directories that nobody described
 * (0755, root's). What an entry is does not depend on the order in which they were given.
 *
 * @throws `KEELSON_INVALID_OPTION` when a path lies below something that is no directory, or is given twice
 */
export function arrange(entries: Iterable<LayerEntry>, mtime: Date): LayerEntry[] {
  const byPath = new Map<string, LayerEntry>()
  for (const entry of entries) {
    if (byPath.has(entry.path)) {
      throw keelsonError('KEELSON_INVALID_OPTION', `"${entry.path}" is given twice.`, {
        path: entry.path,
      })
    }
    byPath.set(entry.path, entry)
  }
  for (const { path } of byPath.values()) {
    for (const parent of parents(path)) {
      const present = byPath.get(parent)
      if (present === undefined) {
        const attributes = { mode: 0o755, uid: 0, gid: 0, mtime }
        byPath.set(parent, { path: parent, type: 'directory', ...attributes })
      } else if (present.type !== 'directory') {
        throw keelsonError(
          'KEELSON_INVALID_OPTION',
          `"${path}" cannot be placed: "${parent}" is a ${present.type}, not a directory.`,
          { path },
        )
      }
    }
  }
  return [...byPath.values()].sort((a, b) => (key(a.path) < key(b.path) ? -1 : 1))
}

/** A slash sorts before everything else in a name, so that a directory's content follows it. */
function key(path: string): string {
  return path.replaceAll('/', '\0')
}

/** `/a/b/c` -> `/a`, `/a/b` */
function parents(path: string): string[] {
  const parts = path.split('/').slice(1, -1)
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)
}
