import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { digestAlgorithm, digestHex, type Digest } from '../oci/digest.ts'
import { RunningHash, type BlobWriter, type Blobs } from './blobs.ts'
import type { ByteRange } from './range.ts'

/** The `blobs/` of an OCI image layout. */
export class DirectoryBlobs implements Blobs {
  readonly #directory: string
  /** Where uploads are written: beside `blobs/`, so that they can be renamed into it. Made at the first one. */
  #incoming: Promise<string> | undefined
  #count = 0

  constructor(directory: string) {
    this.#directory = directory
  }

  async size(digest: Digest): Promise<number | undefined> {
    try {
      const found = await stat(this.#path(digest))
      return found.isFile() ? found.size : undefined
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  open(digest: Digest, range?: ByteRange): Readable {
    return createReadStream(this.#path(digest), range)
  }

  async begin(): Promise<BlobWriter> {
    this.#incoming ??= mkdtemp(join(this.#directory, '.incoming-'))
    const path = join(await this.#incoming, String(this.#count++))
    const file = await open(path, 'wx')
    const hash = new RunningHash()
    const discard = async () => {
      await file.close()
      await rm(path, { force: true })
    }
    const writer = {
      size: 0,
      append: async (chunk: Uint8Array) => {
        await file.writeFile(chunk)
        hash.update(chunk)
        writer.size += chunk.length
      },
      commit: async (digest: Digest) => {
        try {
          hash.verify(digest)
          await file.sync()
        } catch (error) {
          await discard()
          throw error
        }
        await file.close()
        const target = this.#path(digest)
        await mkdir(join(target, '..'), { recursive: true })
        await rename(path, target)
      },
      abort: discard,
    }
    return writer
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.#path(digest), { force: true })
  }

  async close(): Promise<void> {
    if (this.#incoming !== undefined)
      await rm(await this.#incoming, { recursive: true, force: true })
  }

  #path(digest: Digest): string {
    return join(this.#directory, 'blobs', digestAlgorithm(digest), digestHex(digest))
  }
}

/** True for the error of a file that does not exist. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
