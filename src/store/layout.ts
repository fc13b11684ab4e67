import { join } from 'node:path'
import { digestAlgorithm, digestHex, type Digest } from '../oci/digest.ts'
import { makePrivateDirectory } from './directories.ts'
import { readRecord, writeRecord } from './records.ts'

/**
 * Where things lie under an engine's root.
 *
 * `content` is an OCI image layout (`image-layout.md` of the OCI image specification). What is ours alone, half blobs
 * and locks, has names that the specification does not use.
 */
export class Layout {
  readonly root: string
  readonly content: string
  /** The truth of names. */
  readonly index: string
  /** Half blobs, named by the digest that they must end with. */
  readonly ingest: string
  /** Held shared by whoever adds content that no name holds yet, exclusively by whoever sweeps. */
  readonly storeLock: string
  /** Held by whoever replaces `index.json`. */
  readonly indexLock: string

  constructor(root: string) {
    this.root = root
    this.content = join(root, 'content')
    this.index = join(this.content, 'index.json')
    this.ingest = join(this.content, 'ingest')
    this.storeLock = join(root, 'locks', 'store')
    this.indexLock = join(root, 'locks', 'index')
  }

  blob(digest: Digest): string {
    return join(this.content, 'blobs', digestAlgorithm(digest), digestHex(digest))
  }

  blobs(algorithm: 'sha256' | 'sha512'): string {
    return join(this.content, 'blobs', algorithm)
  }

  partial(digest: Digest): string {
    return join(this.ingest, `${digestAlgorithm(digest)}-${digestHex(digest)}`)
  }

  partialLock(digest: Digest): string {
    return `${this.partial(digest)}${LOCK_SUFFIX}`
  }

  /**
   * Makes what is missing. The root and all in it are its owner's alone: layers hold setuid programs, and nobody on the
   * host may reach them by path.
   */
  async create(): Promise<void> {
    const directories = [this.blobs('sha256'), this.blobs('sha512'), this.ingest]
    for (const path of [this.root, join(this.root, 'locks'), ...directories]) {
      await makePrivateDirectory(path)
    }
    const marker = join(this.content, 'oci-layout')
    const written = await readRecord(marker)
    if (written?.toString() !== MARKER) await writeRecord(marker, MARKER, { durable: true })
  }
}

export const LOCK_SUFFIX = '.lock'

const MARKER = '{"imageLayoutVersion":"1.0.0"}'
