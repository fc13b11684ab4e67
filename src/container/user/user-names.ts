import type { IdMapping } from '../../runtime/protocol.ts'

/**
 * Names of users, by the number that the host sees. Pure.
 *
 * @param passwd the image's `/etc/passwd`
 * @param mappings of the user namespace that the container is in; none: the host's
 */
export function userNames(
  passwd: string,
  mappings: readonly IdMapping[] | undefined,
): (uid: number) => string | undefined {
  const names = new Map<number, string>()
  for (const line of passwd.split('\n')) {
    const [name = '', , uid = ''] = line.split(':')
    // The first is the one that getpwuid(3) finds.
    if (name !== '' && /^\d+$/.test(uid) && !names.has(Number(uid))) names.set(Number(uid), name)
  }
  return (uid) => {
    const inside = mappings === undefined ? uid : containerId(mappings, uid)
    return inside === undefined ? undefined : names.get(inside)
  }
}

function containerId(mappings: readonly IdMapping[], id: number): number | undefined {
  const found = mappings.find(({ hostID, size }) => id >= hostID && id < hostID + size)
  return found && id - found.hostID + found.containerID
}
