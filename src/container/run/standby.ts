import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { helperFailure } from '../../runtime/connection.ts'
import type { Launcher } from '../../runtime/launcher.ts'
import type { Attaching } from '../../network/endpoint/attach.ts'
import { planNetworks } from '../../network/endpoint/plan.ts'
import type { Arguments } from '../../runtime/protocol.ts'
import { bundleFiles } from '../config/bundle.ts'
import { environment } from '../config/command.ts'
import { computeConfig } from '../config/config.ts'
import { ownNetwork } from '../config/networking.ts'
import type { BundleFile } from '../config/oci-runtime.ts'
import type { Standby } from './standbys.ts'
import { prepareConfig } from '../config/prepare.ts'
import type { RunContext, RunnableImage } from '../context.ts'
import { hostnameOf } from '../namespaces/hostname.ts'
import { isShare } from '../namespaces/options.ts'
import type { NormalizedOptions } from '../normalize/normalize.ts'

/**
 * What runs have in common that could have the same standby: all but the program, and how it is watched. Undefined: with these options
 * there is none, since what a container is made of must be looked at when it starts, or is another's.
 */
export function standbyKey(options: NormalizedOptions, image: RunnableImage): string | undefined {
  const { network, pid, ipc, uts, userns, privileged, seccomp } = options
  const own = pid === 'private' && uts === 'private' && userns === 'host'
  const shared = network === 'host' || isShare(network) || typeof ipc === 'object'
  const named = options.mounts.length + options.devices.length > 0 || options.blkio !== undefined
  const volumes = Object.keys(image.config.config.Volumes ?? {}).length > 0
  const profile = typeof seccomp === 'string' && seccomp !== 'unconfined'
  if (!own || shared || privileged || named || volumes || profile) return undefined
  const {
    command: _command,
    entrypoint: _entrypoint,
    env: _env,
    labels: _labels,
    timeout: _timeout,
    signal: _signal,
    maxOutput: _maxOutput,
    collect: _collect,
    reject: _reject,
    stripFinalNewline: _stripFinalNewline,
    stdin,
    ...rest
  } = options
  return JSON.stringify([image.digest, stdin !== undefined, rest])
}

/** Has one made for runs like this. Undefined: not with this storage. */
export async function makeStandby(
  context: RunContext,
  options: NormalizedOptions,
  image: RunnableImage,
): Promise<Standby | undefined> {
  const { snapshotter, launcher } = context
  // A copy of a whole image is not made for nothing.
  if (snapshotter.name !== 'overlay') return undefined
  const id = newId()
  const input = await prepareConfig(context, {
    id,
    options: { ...options, command: ['-'], entrypoint: undefined },
    image,
    bundle: join(context.directory, id),
    stdin: options.stdin !== undefined,
    terminal: false,
    everyController: false,
    ids: undefined,
  })
  const config = computeConfig(input)
  const rootfs = await snapshotter.prepare(id, image.chain, {
    unmade: true,
    tmpfs: options.storage,
  })
  Object.assign(config.keelson, rootfs)
  const files = filesOf(id, options)
  config.keelson.files = files
  if (Array.isArray(options.network)) {
    const alone = { container: id, endpoints: [], ports: [], resolvers: [] }
    config.keelson.network = planNetworks(context.networking.places, alone).plan
  }
  await launcher.request('standby', { container: id, config })
  return { id, home: input.user.home, files }
}

/** Names its program. */
export function standbyProgram(
  { id, home, files }: Standby,
  options: NormalizedOptions,
  image: RunnableImage,
  args: string[],
  attached: Attaching | undefined,
): Arguments<'standby.run'> {
  const name = hostnameOf(id, options, hostname())
  const env = environment(options.env, image.config.config, { hostname: name, home, tty: false })
  const changed = filesOf(id, options, attached).filter(
    (file) => !files.some((there) => there.name === file.name && there.text === file.text),
  )
  return {
    container: id,
    program: { args, env, ...(attached !== undefined && { network: attached.plan }) },
    ...(changed.length > 0 && { files: changed }),
  }
}

export async function removeStandby(launcher: Launcher, { id }: Standby): Promise<void> {
  await launcher.request('standby.remove', { container: id }).catch(() => {})
}

/** Whether a run failed only because what was made for it was not there any more. */
export function lostStandby(error: unknown): boolean {
  return helperFailure(error)?.kind === 'standby-lost'
}

export function newId(): string {
  return randomBytes(32).toString('hex')
}

function filesOf(id: string, options: NormalizedOptions, attached?: Attaching): BundleFile[] {
  return bundleFiles(id, options, ownNetwork(attached))
}
