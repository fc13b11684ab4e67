import type { WireStat } from '../../runtime/protocol.ts'
import { fromWire } from './names.ts'

/** What a file is. */
export type FileType =
  'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo' | 'socket' | 'unknown'

/** What is known of a file: `node:fs` calls it `Stats`. Frozen. */
export class FileStat {
  readonly type: FileType
  /** Permission bits with setuid, setgid and sticky; without the file's type, which is `type`. */
  readonly mode: number
  /** As the container sees it. */
  readonly uid: number
  readonly gid: number
  /** Bytes. */
  readonly size: number
  readonly nlink: number
  readonly ino: number
  readonly dev: number
  /** Of 512 bytes, on the disk. */
  readonly blocks: number
  readonly atime: Date
  readonly mtime: Date
  readonly ctime: Date
  /** Milliseconds with a fraction. */
  readonly mtimeMs: number
  /** Major and minor number of a device. */
  readonly device?: readonly [major: number, minor: number]
  /** Where a symbolic link points to. */
  readonly link?: string

  /** @internal */
  constructor(wire: WireStat) {
    this.type = wire.type
    this.mode = wire.mode
    this.uid = wire.uid
    this.gid = wire.gid
    this.size = wire.size
    this.nlink = wire.nlink
    this.ino = wire.ino
    this.dev = wire.dev
    this.blocks = wire.blocks
    this.atime = new Date(milliseconds(wire.atime))
    this.mtime = new Date(milliseconds(wire.mtime))
    this.ctime = new Date(milliseconds(wire.ctime))
    this.mtimeMs = milliseconds(wire.mtime)
    if (wire.device !== undefined) this.device = wire.device
    if (wire.link !== undefined) this.link = fromWire(wire.link).toString('utf8')
    if (new.target === FileStat) Object.freeze(this)
  }

  isFile(): boolean {
    return this.type === 'file'
  }

  isDirectory(): boolean {
    return this.type === 'directory'
  }

  isSymbolicLink(): boolean {
    return this.type === 'symlink'
  }
}

/** An entry of a directory, with all that is known of it; a symbolic link is not followed. */
export class FileEntry extends FileStat {
  readonly name: string
  /** The name's bytes: the same as `name` unless they are no UTF-8. */
  readonly nameBytes: Buffer

  /** @internal */
  constructor(wire: WireStat & { name: Parameters<typeof fromWire>[0] }) {
    super(wire)
    this.nameBytes = fromWire(wire.name)
    this.name = this.nameBytes.toString('utf8')
    Object.freeze(this)
  }
}

function milliseconds([seconds, nanoseconds]: [number, number]): number {
  return seconds * 1000 + nanoseconds / 1e6
}
