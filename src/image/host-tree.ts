import { lstat, readlink, realpath, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { keelsonError } from '../errors.ts'
import { errnoOf, storageError } from '../store/errno.ts'
import type { LayerEntry } from './layer-entry.ts'

/** As many links as Linux follows in one path. */
const MAX_LINKS = 40

/** The top-level links of a distribution that has merged /usr: programs name files through either path. */
const MERGED = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']

/** Files of this host, gathered for an image where they keep their paths. */
export class HostTree {
  readonly #entries = new Map<string, LayerEntry>()
  readonly #mtime: Date

  constructor(mtime: Date) {
    this.#mtime = mtime
  }

  /**
   * Adds a file, with every symbolic link on the way to it.
   *
   * @returns its path with no link in it
   * @throws `KEELSON_IO`, `KEELSON_PERMISSION`
   */
  async add(path: string): Promise<string> {
    let rest = resolve(path).split('/').slice(1)
    let reached = '/'
    let links = 0
    while (rest.length > 0) {
      const [name = '', ...after] = rest
      const next = join(reached, name)
      const target = await this.#linkTarget(next)
      if (target === undefined) {
        reached = next
        rest = after
        continue
      }
      if (++links > MAX_LINKS) {
        throw keelsonError('KEELSON_IO', `"${path}" leads through too many symbolic links.`, {
          path,
        })
      }
      this.#put({ ...this.#owned(next), type: 'link', target, mode: 0o777 })
      rest = [...resolve(reached, target).split('/').slice(1), ...after].filter(
        (part) => part !== '',
      )
      reached = '/'
    }
    await this.#addFile(reached)
    return reached
  }

  /** Adds a file if it is there and may be read. */
  async addIfPresent(path: string): Promise<void> {
    const found = await stat(path).catch(() => undefined)
    if (found?.isFile() === true) await this.add(path)
  }

  /** Adds a file with a content that is not the host's, unless there is one at that path. */
  addText(path: string, text: string): void {
    if (this.#entries.has(path)) return
    this.#put({ ...this.#owned(path), type: 'file', content: Buffer.from(text), mode: 0o644 })
  }

  addDirectory(path: string, mode: number): void {
    this.#put({ ...this.#owned(path), type: 'directory', mode })
  }

  /** The entries, and those of the host's top-level links that lead to something in them. */
  async entries(): Promise<LayerEntry[]> {
    for (const path of MERGED) {
      const target = await this.#linkTarget(path).catch(() => undefined)
      if (target === undefined) continue
      const directory = `${await realpath(path).catch(() => path)}/`
      if ([...this.#entries.keys()].some((entry) => entry.startsWith(directory))) {
        this.#put({ ...this.#owned(path), type: 'link', target, mode: 0o777 })
      }
    }
    return [...this.#entries.values()]
  }

  async #addFile(path: string): Promise<void> {
    if (this.#entries.has(path)) return
    const found = await this.#look(path, () => stat(path))
    if (!found.isFile()) {
      throw keelsonError('KEELSON_IO', `"${path}" is not a file.`, { path })
    }
    const mode = found.mode & 0o7777
    this.#put({ ...this.#owned(path), type: 'file', content: { path }, mode })
  }

  async #linkTarget(path: string): Promise<string | undefined> {
    return await this.#look(path, async () =>
      (await lstat(path)).isSymbolicLink() ? await readlink(path) : undefined,
    )
  }

  async #look<T>(path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (cause) {
      if (errnoOf(cause) !== 'ENOENT') throw storageError(cause, 'read', path)
      throw keelsonError('KEELSON_IO', `"${path}" is not there.`, {
        hint: `Something in ${dirname(path)} points to it.`,
        cause,
        path,
      })
    }
  }

  #owned(path: string): Pick<LayerEntry, 'path' | 'uid' | 'gid' | 'mtime'> {
    return { path, uid: 0, gid: 0, mtime: this.#mtime }
  }

  #put(entry: LayerEntry): void {
    this.#entries.set(entry.path, entry)
  }
}
