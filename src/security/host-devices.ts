import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { LinuxDevice } from './devices.ts'

/** Parts of /dev that are not devices but file systems of their own, which a container gets anew. */
const OWN_FILE_SYSTEMS = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev'])

/**
 * Every device node of the host, for a privileged container. Nodes that vanish while reading, and what cannot be
 * read, are passed over; `console` is left to the container's own terminal.
 */
export async function hostDevices(directory = '/dev'): Promise<LinuxDevice[]> {
  const found: LinuxDevice[] = []
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => [])
  for (const entry of entries) {
    const path = join(directory, entry.name)
    if (entry.isDirectory() && !OWN_FILE_SYSTEMS.has(entry.name)) {
      found.push(...(await hostDevices(path)))
    } else if ((entry.isCharacterDevice() || entry.isBlockDevice()) && entry.name !== 'console') {
      const device = await hostDevice(path)
      if (device) found.push(device)
    }
  }
  return found
}

/** What the node at `path` stands for; undefined when it is no device. */
export async function hostDevice(path: string): Promise<LinuxDevice | undefined> {
  const stats = await lstat(path).catch(() => undefined)
  if (!stats || !(stats.isCharacterDevice() || stats.isBlockDevice())) return undefined
  const type = stats.isBlockDevice() ? 'b' : 'c'
  const { uid, gid, mode } = stats
  return { path, type, ...numbers(BigInt(stats.rdev)), fileMode: mode & 0o777, uid, gid }
}

/** glibc's encoding of dev_t: 12 and 20 bits of major, 8 and 24 of minor, interleaved. */
function numbers(rdev: bigint): { major: number; minor: number } {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  }
}
