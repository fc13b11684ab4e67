import { readFileSync } from 'node:fs'
import { chown, mkdir, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { IdMapping } from '../../runtime/protocol.ts'
import { hostnameOf } from '../namespaces/hostname.ts'
import { etcFiles, type OwnNetwork } from './etc-files.ts'
import { prepareMountSources } from './mount-sources.ts'
import type { UserMappings } from '../namespaces/options.ts'
import type { NormalizedContainer } from '../normalize/normalize.ts'
import type { BundleFile } from './oci-runtime.ts'

/**
 * Makes the directory of a container's run: where its root is mounted, and the files that are mounted over those in `/etc`; and the
 * sources of its mounts that are to be made.
 *
 * @throws `KEELSON_MOUNT_FAILED`
 */
export async function writeBundle(
  bundle: string,
  id: string,
  options: NormalizedContainer,
  own: OwnNetwork,
  userns: UserMappings | undefined,
): Promise<void> {
  await prepareMountSources(options.mounts)
  await mkdir(join(bundle, 'rootfs'), { recursive: true, mode: 0o700 })
  const owner = userns && [rootOf(userns.uidMappings), rootOf(userns.gidMappings)]
  // Every user of the container reads these, and their owner in it is root.
  await Promise.all(
    bundleFiles(id, options, own).map(async ({ name, text }) => {
      const path = join(bundle, name)
      await writeFile(path, text, { mode: 0o644 })
      if (owner !== undefined) await chown(path, owner[0] ?? 0, owner[1] ?? 0)
    }),
  )
}

/** Who on the host the container's root is. */
function rootOf(mappings: readonly IdMapping[]): number {
  return mappings.find(({ containerID }) => containerID === 0)?.hostID ?? 0
}

/** The files that are mounted over those in `/etc`. */
export function bundleFiles(
  id: string,
  options: NormalizedContainer,
  own: OwnNetwork,
): BundleFile[] {
  const host = { hosts: textOf('/etc/hosts'), resolvConf: textOf('/etc/resolv.conf') }
  const files = etcFiles(hostnameOf(id, options, hostname()), options, host, own)
  return [
    { name: 'hosts', text: files.hosts },
    { name: 'hostname', text: files.hostname },
    { name: 'resolv.conf', text: files.resolvConf },
  ]
}

/** Synchronous, on the way of every run: reading a small local file takes less time than a turn of the event loop. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
