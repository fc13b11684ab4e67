/** A user namespace of a container's own. */
import { keelsonError } from '../../errors.ts'
import type { RunContext } from '../context.ts'
import type { NormalizedContainer } from '../normalize/normalize.ts'
import { isMapped, type ContainerUser } from '../user/user.ts'
import { mappingsOf } from './id-ranges.ts'
import type { UserMappings } from './options.ts'

/** Overlay takes layers with other ids from then on. */
const OVERLAY_IDMAP = [5, 19] as const

/**
 * The ids that a container will have; those of a range that is not claimed yet are of the same number.
 *
 * @throws `KEELSON_UNSUPPORTED` where the kernel, the file system or the rights of this process do not allow it
 */
export function usernsOf(
  context: Pick<RunContext, 'host' | 'probe' | 'snapshotter' | 'user'>,
  { userns }: Pick<NormalizedContainer, 'userns'>,
): UserMappings | undefined {
  if (userns === 'host') return undefined
  const { host, probe, snapshotter } = context
  if (context.user !== undefined) {
    throw unsupported(
      'An ordinary user cannot give a container a user namespace of its own: all of them are in one already.',
      'Leave userns out, or run as root.',
    )
  }
  const [major, minor] = host.kernel.version
  const old = major < OVERLAY_IDMAP[0] || (major === OVERLAY_IDMAP[0] && minor < OVERLAY_IDMAP[1])
  if (snapshotter.name === 'overlay' && old) {
    throw unsupported(
      `Overlay cannot show layers with other ids on Linux ${major}.${minor}.`,
      "Linux 5.19 can; or open the engine with snapshotter: 'copy'.",
    )
  }
  if (!probe.idmappedMounts.ok) {
    throw unsupported(
      `The file system of the engine's root cannot be shown with other ids (${probe.idmappedMounts.errno ?? 'unknown'}).`,
      'Put the root on ext4, xfs, btrfs, or tmpfs of Linux 6.3.',
    )
  }
  return userns === 'auto' ? mappingsOf({ uid: 0, gid: 0 }) : userns
}

/**
 * The user as the container's own user namespace has it: without groups that are not mapped.
 *
 * @param mappings without any, every id is
 * @throws `KEELSON_INVALID_OPTION` when the user itself is not
 */
export function userIn(user: ContainerUser, mappings: Partial<UserMappings>): ContainerUser {
  const { uidMappings, gidMappings } = mappings
  const { uid, gid, additionalGids } = user
  if (isMapped(uidMappings, uid) && isMapped(gidMappings, gid)) {
    return { ...user, additionalGids: additionalGids.filter((id) => isMapped(gidMappings, id)) }
  }
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    `The container's user namespace has no user ${uid}:${gid}.`,
    { option: 'user', user: `${uid}:${gid}`, hint: 'Map it with userns, or run as another user.' },
  )
}

function unsupported(message: string, hint: string) {
  return keelsonError('KEELSON_UNSUPPORTED', message, { option: 'userns', hint })
}
