import { readdir } from 'node:fs/promises'
import { release } from 'node:os'
import { join } from 'node:path'
import { keelsonError } from '../errors.ts'
import type { Helper, ProbeResult } from '../runtime/protocol.ts'
import { converting } from '../store/errno.ts'
import { CopySnapshotter } from './copy.ts'
import { OverlaySnapshotter } from './overlay.ts'
import type { Snapshotter } from './snapshotter.ts'
import { SnapshotTree } from './tree.ts'

const DRIVERS = ['overlay', 'copy'] as const

export interface SnapshotterChoice {
  /** The engine's root: drivers live in `snapshots/<name>` under it. */
  root: string
  helper: Helper
  /** `auto`: overlay where it works here, else copy. */
  driver: 'auto' | 'overlay' | 'copy'
  /** What the helper found out about that root's file system. */
  probe: Pick<ProbeResult, 'overlay' | 'overlayUserxattr'>
  /** The launcher lives in a user namespace. */
  rootless: boolean
  /** `squash` where its user namespace has a single id: all files of an image then belong to that. */
  owners?: 'keep' | 'squash'
}

/**
 * Opens the driver that was asked for, or the best that works.
 *
 * @throws `KEELSON_UNSUPPORTED` when overlay was asked for and cannot be mounted here
 */
export async function openSnapshotter(choice: SnapshotterChoice): Promise<Snapshotter> {
  const { root, helper, driver, probe, rootless, owners = 'keep' } = choice
  const overlay = rootless ? probe.overlayUserxattr : probe.overlay
  if (driver === 'overlay' && !overlay.ok) {
    throw keelsonError(
      'KEELSON_UNSUPPORTED',
      `overlayfs cannot be mounted on the file system of ${root} (${overlay.errno ?? 'unknown reason'}).`,
      {
        hint: rootless
          ? 'Overlay as an ordinary user needs Linux 5.11; use snapshotter "copy" or "auto", or another `root`.'
          : 'Put `root` on ext4, xfs or btrfs rather than on overlay or a network file system, or use snapshotter "copy".',
        errno: overlay.errno,
      },
    )
  }
  if (driver === 'copy' || !overlay.ok) {
    return await CopySnapshotter.open(join(root, 'snapshots', 'copy'), helper, {
      rootless,
      owners,
    })
  }
  return await OverlaySnapshotter.open(join(root, 'snapshots', 'overlay'), helper, {
    rootless,
    owners,
    mountOptions: overlayHasVolatile(release()) ? ['volatile'] : [],
  })
}

/**
 * What stands with each driver that ever worked on this root. They keep snapshots in the same shape, so removing one does not take the
 * driver that made it, which this host may not even have.
 */
export async function snapshotTrees(root: string, helper: Helper): Promise<SnapshotTree[]> {
  const directory = join(root, 'snapshots')
  const found = await converting('read', directory, () => readdir(directory))
  const names = DRIVERS.filter((name) => found.includes(name))
  return await Promise.all(names.map((name) => SnapshotTree.open(join(directory, name), helper)))
}

/** Without it, unmounting a container's root would sync the whole file system beneath (Linux 5.10). */
function overlayHasVolatile(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10))
  return major > 5 || (major === 5 && minor >= 10)
}
