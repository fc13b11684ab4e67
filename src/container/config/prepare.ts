import { hostname } from 'node:os'
import { keelsonError } from '../../errors.ts'
import { ensureAppArmorProfile } from '../../security/apparmor.ts'
import { hostDevice, hostDevices } from '../../security/host-devices.ts'
import { loadSeccomp, type SeccompOption } from '../../security/seccomp/load.ts'
import { findBlockIo } from './block-devices.ts'
import type { ConfigInput } from './config.ts'
import type { RunContext, RunnableImage } from '../context.ts'
import type { NormalizedContainer } from '../normalize/normalize.ts'
import type { UserMappings } from '../namespaces/options.ts'
import { findPeers } from '../namespaces/peers.ts'
import { userIn, usernsOf } from '../namespaces/userns.ts'
import { findUser, isMapped, mapUser } from '../user/user.ts'
import { mountSources } from './volumes.ts'

/** A container that is to be configured. */
export interface Preparation {
  id: string
  options: NormalizedContainer
  image: RunnableImage
  /** Directory of its run. */
  bundle: string
  /** The program's standard input is a pipe, or the terminal. */
  stdin: boolean
  terminal: boolean
  everyController: boolean
  /** With `userns: 'auto'`: the ids it has; absent: any. */
  ids: UserMappings | undefined
}

/**
 * Looks up what a configuration is made of: the user in the image, the host's devices, the profiles. All but the root file system, which is
 * made only when the rest is known to be right.
 */
export async function prepareConfig(
  context: RunContext,
  { id, options: asked, image, bundle, stdin, terminal, everyController, ids }: Preparation,
): Promise<ConfigInput> {
  const userns = ids ?? usernsOf(context, asked)
  const { options, peers, etc } = await findPeers(asked, context.peer, hostname())
  const parameters = image.config.config
  const [database, seccomp, apparmor, devices, blockIO, sources] = await Promise.all([
    context.users.of(image.chain),
    loadSeccomp(options.seccomp as SeccompOption | undefined, { privileged: options.privileged }),
    appArmor(context, options),
    findDevices(options),
    findBlockIo(options.blkio),
    mountSources(context, options.mounts),
  ])
  const found = findUser(options.user ?? parameters.User ?? '', database)
  return {
    id,
    options,
    userns,
    peers,
    etc,
    image: { digest: image.digest, parameters },
    user: userIn(mapUser(found, context.user), userns ?? {}),
    rootfs: { rootfs: [], remove: [], locks: [] },
    bundle,
    stdin,
    terminal,
    everyController,
    host: context.host,
    hostname: hostname(),
    cgroups: context.cgroups,
    capabilities: context.probe.capabilities,
    ttyGroup: isMapped((userns ?? context.user)?.gidMappings, 5),
    seccomp,
    apparmor,
    devices,
    blockIO,
    sources,
  }
}

async function appArmor(context: RunContext, options: NormalizedContainer) {
  if (options.apparmor === 'unconfined' || options.privileged) return undefined
  if (options.apparmor !== undefined) return options.apparmor
  const { profile, warning } = await ensureAppArmorProfile(context.host)
  if (warning !== undefined) context.warn(warning.code, warning.message)
  return profile
}

async function findDevices(options: NormalizedContainer) {
  if (options.privileged) return await hostDevices()
  return await Promise.all(
    options.devices.map(async ({ path, target, access }) => {
      const device = await hostDevice(path)
      if (device !== undefined) return { ...device, path: target, access }
      throw keelsonError('KEELSON_INVALID_OPTION', `The host has no device ${path}.`, {
        option: 'devices',
        hint: 'Name a character or block device of the host.',
      })
    }),
  )
}
