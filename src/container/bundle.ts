import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { hostnameOf } from './config.ts'
import { etcFiles } from './etc-files.ts'
import { prepareMountSources } from './mount-sources.ts'
import type { NormalizedContainer } from './normalize.ts'

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
): Promise<void> {
  await prepareMountSources(options.mounts)
  await mkdir(join(bundle, 'rootfs'), { recursive: true, mode: 0o700 })
  const [hosts, resolvConf] = await Promise.all(['/etc/hosts', '/etc/resolv.conf'].map(textOf))
  const files = etcFiles(hostnameOf(id, options, hostname()), options, {
    hosts: hosts ?? '',
    resolvConf: resolvConf ?? '',
  })
  // Every user of the container reads these, and their owner in it is root.
  await Promise.all(
    Object.entries({
      hosts: files.hosts,
      hostname: files.hostname,
      'resolv.conf': files.resolvConf,
    }).map(([name, content]) => writeFile(join(bundle, name), content, { mode: 0o644 })),
  )
}

function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}
