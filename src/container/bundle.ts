import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hostnameOf } from './config.ts'
import { hostsFile, resolverFile } from './etc-files.ts'
import type { NormalizedContainer } from './normalize.ts'

/** Makes the directory of a container's run: where its root is mounted, and the files that are mounted over those in `/etc`. */
export async function writeBundle(
  bundle: string,
  id: string,
  options: NormalizedContainer,
): Promise<void> {
  const hostname = options.uts === 'host' ? '' : hostnameOf(id, options)
  await mkdir(join(bundle, 'rootfs'), { recursive: true, mode: 0o700 })
  const resolver = await readFile('/etc/resolv.conf', 'utf8').catch(() => '')
  const given = { servers: options.dns, search: options.dnsSearch, options: options.dnsOptions }
  // Every user of the container reads these, and their owner in it is root.
  await Promise.all([
    writeFile(join(bundle, 'hosts'), hostsFile(hostname, options.extraHosts), { mode: 0o644 }),
    writeFile(join(bundle, 'hostname'), `${hostname}\n`, { mode: 0o644 }),
    writeFile(
      join(bundle, 'resolv.conf'),
      resolverFile(resolver, given, options.network === 'host'),
      { mode: 0o644 },
    ),
  ])
}
