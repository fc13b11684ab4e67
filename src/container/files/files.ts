import { keelsonError } from '../../errors.ts'
import type { RequestOptions } from '../../runtime/protocol.ts'
import { convertingFile } from '../../snapshot/files/failure.ts'
import { Files, type FileOptions } from '../../snapshot/files/files.ts'
import { checkPath, shown, toWire, type FilePath } from '../../snapshot/files/names.ts'
import { send } from '../../snapshot/files/stream.ts'

/** Who owns what is made, and who may use it. */
export interface FileAttributes {
  /** Default 0: the container's root. */
  uid?: number
  /** Default 0. */
  gid?: number
  /** Permission bits, whatever the umask. */
  mode?: number
}

export interface WriteFileOptions extends FileOptions, FileAttributes {
  /** Of text. Default `utf8`. */
  encoding?: BufferEncoding
  /** `w` (default): replace what is in the file. `a`: append. `wx`: fail when it is there. */
  flag?: 'w' | 'a' | 'wx'
}

/** Text, bytes, or a stream of either. */
export type FileContent = string | Uint8Array | AsyncIterable<Uint8Array | string>

/** What goes along with a request; more comes over a pipe. */
const SMALL = 4 * 1024 * 1024

/**
 * The files of a container: `container.files`. With a running one they are those that its processes see, volumes and other mounts
 * included; a stopped one's are those that it will see when it is started.
 *
 * A path is resolved in the container by the kernel and what it led to is used by descriptor: a hostile process that swaps directories
 * and links at the same moment can make the call fail, or choose another file *of the container*, never one of the host.
 */
export class ContainerFiles extends Files {
  /**
   * Writes a file, as `node:fs` does: symbolic links are followed, a missing file is made (0644, root's), its directory is not.
   *
   * A stream that fails leaves what had been written by then.
   *
   * @throws `KEELSON_FILE_NOT_FOUND`, `KEELSON_FILE_EXISTS` (`wx`), `KEELSON_IS_A_DIRECTORY`, `KEELSON_NOT_A_DIRECTORY`,
   * `KEELSON_NOT_A_FILE`, `KEELSON_PERMISSION`, `KEELSON_NO_SPACE`, `KEELSON_IO`, `KEELSON_ABORTED`, `KEELSON_INVALID_OPTION`
   */
  async writeFile(
    path: FilePath,
    content: FileContent,
    options: BufferEncoding | WriteFileOptions = {},
  ): Promise<void> {
    const given = typeof options === 'string' ? { encoding: options } : options
    const { encoding = 'utf8', flag = 'w', signal, ...attributes }: WriteFileOptions = given
    checkAttributes(attributes)
    if (flag !== 'w' && flag !== 'a' && flag !== 'wx') {
      throw keelsonError('KEELSON_INVALID_OPTION', `"${String(flag)}" is no flag for writing.`, {
        hint: 'It is w, a or wx.',
      })
    }
    const at = shown(checkPath(path))
    const args = { ...pick(attributes), path: toWire(path), flag }
    await convertingFile('write', at, () =>
      this.with(true, signal, async (place) => {
        const whole = wholeOf(content, encoding)
        if (whole !== undefined && whole.length <= SMALL) {
          const data = whole.toString('base64')
          await this.access.helper.request('fs.write', { ...place, ...args, data }, { signal })
          return
        }
        const source =
          whole === undefined ? (content as AsyncIterable<Uint8Array | string>) : [whole]
        const bytes = encoded(source, encoding)
        const first = await bytes.next()
        if (first.done === true) {
          // There is no byte to open a pipe with.
          await this.access.helper.request('fs.write', { ...place, ...args, data: '' }, { signal })
          return
        }
        const start = (request: RequestOptions) =>
          this.access.helper.request('fs.write', { ...place, ...args }, request)
        await send(start, joined(first.value, bytes), signal)
      }),
    )
  }

  /**
   * Makes a directory (0755, root's); with `recursive`, those above it, too, and one that is there is fine.
   *
   * @throws `KEELSON_FILE_EXISTS`, `KEELSON_FILE_NOT_FOUND`, and what {@link writeFile} throws
   */
  async mkdir(
    path: FilePath,
    options: FileOptions & FileAttributes & { recursive?: boolean } = {},
  ): Promise<void> {
    const { recursive = false, signal, ...attributes } = options
    checkAttributes(attributes)
    const args = { ...pick(attributes), path: toWire(checkPath(path)), recursive }
    await convertingFile('make the directory', shown(path), () =>
      this.with(true, signal, (place) =>
        this.access.helper.request('fs.mkdir', { ...place, ...args }, { signal }),
      ),
    )
  }

  /**
   * Removes a file or symbolic link; with `recursive` a directory and all below it, but nothing that is mounted there; with `force`, what
   * is missing is fine.
   *
   * @throws `KEELSON_FILE_NOT_FOUND`, `KEELSON_IS_A_DIRECTORY`, `KEELSON_FILE_EXISTS` (a mount is in the way), and what {@link writeFile}
   * throws
   */
  async rm(
    path: FilePath,
    options: FileOptions & { recursive?: boolean; force?: boolean } = {},
  ): Promise<void> {
    const { recursive = false, force = false, signal } = options
    const args = { path: toWire(checkPath(path)), recursive, force }
    await convertingFile('remove', shown(path), () =>
      this.with(true, signal, (place) =>
        this.access.helper.request('fs.remove', { ...place, ...args }, { signal }),
      ),
    )
  }
}

async function* encoded(
  source: Iterable<Uint8Array> | AsyncIterable<Uint8Array | string>,
  encoding: BufferEncoding,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of source) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
    if (bytes.length > 0) yield bytes
  }
}

async function* joined(first: Uint8Array, more: AsyncIterable<Uint8Array>) {
  yield first
  yield* more
}

function wholeOf(content: FileContent, encoding: BufferEncoding): Buffer | undefined {
  if (typeof content === 'string') return Buffer.from(content, encoding)
  if (content instanceof Uint8Array) {
    return Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  }
  if (typeof content === 'object' && content !== null && Symbol.asyncIterator in content)
    return undefined
  throw keelsonError('KEELSON_INVALID_OPTION', 'The content of a file is text, bytes or a stream.')
}

/** Only those that were given. */
export function pick({ uid, gid, mode }: FileAttributes): FileAttributes {
  return {
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(mode === undefined ? {} : { mode }),
  }
}

const MAX_ID = 2 ** 32 - 2

/** @throws `KEELSON_INVALID_OPTION` */
export function checkAttributes({ uid, gid, mode }: FileAttributes): void {
  check('uid', uid, MAX_ID)
  check('gid', gid, MAX_ID)
  check('mode', mode, 0o7777)
}

function check(option: string, value: number | undefined, max: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= 0 && value <= max)) return
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    `${option} must be a whole number from 0 to ${max}.`,
    {
      option,
    },
  )
}
