import type { Digest } from '../../oci/digest.ts'
import type { Helper, RootfsMount } from '../../runtime/protocol.ts'
import type { Snapshotter } from '../../snapshot/snapshotter.ts'
import type { UserDatabase } from './user.ts'

const LIMIT = 1024 * 1024
/** Images; a few kilobytes each. */
const KEPT = 256

/** Users and groups of images, read inside their root file systems by the helper and kept: a chain of layers never changes. */
export class UserDatabases {
  readonly #kept = new Map<Digest, UserDatabase>()
  readonly #helper: Helper
  readonly #snapshotter: Snapshotter

  constructor(helper: Helper, snapshotter: Snapshotter) {
    this.#helper = helper
    this.#snapshotter = snapshotter
  }

  async of(chain: readonly Digest[]): Promise<UserDatabase> {
    const top = chain.at(-1)
    if (top === undefined) return { passwd: '', group: '' }
    const kept = this.#kept.get(top)
    if (kept !== undefined) return kept
    const read = await readUsers(this.#helper, this.#snapshotter.view(chain))
    if (this.#kept.size >= KEPT) this.#kept.clear()
    this.#kept.set(top, read)
    return read
  }
}

/** Those of a root file system, read inside it by the helper. */
export async function readUsers(helper: Helper, rootfs: RootfsMount[]): Promise<UserDatabase> {
  const { files } = await helper.request('fs.read', {
    rootfs,
    paths: ['/etc/passwd', '/etc/group'],
    limit: LIMIT,
  })
  const [passwd = '', group = ''] = files.map((file) =>
    'data' in file ? Buffer.from(file.data, 'base64').toString('utf8') : '',
  )
  return { passwd, group }
}
