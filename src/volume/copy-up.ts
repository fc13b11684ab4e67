import { readdirSync } from 'node:fs'
import type { RootfsMount } from '../runtime/protocol.ts'
import { converting } from '../store/errno.ts'
import type { VolumesContext } from './context.ts'

/**
 * Gives an empty volume what the image has where it is mounted, with owners, modes and extended attributes. The caller holds the volume's
 * lock. After a crash the volume has all of it or nothing, or the next to use it completes it.
 *
 * @param image its root file system
 */
export async function copyUp(
  { helper, places }: VolumesContext,
  name: string,
  image: RootfsMount[],
  { path, durable }: { path: string; durable: boolean },
  signal?: AbortSignal,
): Promise<void> {
  const directory = places.directory(name)
  if (isFilled(directory, places.data(name))) return
  await converting('populate', directory, () =>
    helper.request('volume.populate', { rootfs: image, path, directory, durable }, { signal }),
  )
}

/** Without asking the helper, which takes a process: a volume is filled once and used many times. */
function isFilled(directory: string, data: string): boolean {
  try {
    const isMoving = readdirSync(directory).some((name) => name === FILLED)
    return !isMoving && readdirSync(data).length > 0
  } catch {
    // A subordinate user's: only the helper may look.
    return false
  }
}

/** What the helper has copied and not yet moved in. */
const FILLED = 'filled'
