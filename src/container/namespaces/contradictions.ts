import type { NormalizedMount } from '../../volume/mount-spec.ts'
import { invalid } from '../normalize/values.ts'
import type { ContainerOptions } from '../options/options.ts'
import { isShare } from './options.ts'

/** What is in the files of /etc that come with a network, and so with the container whose network is joined. */
const WITH_NETWORK = [
  'hostname',
  'domainname',
  'extraHosts',
  'dns',
  'dnsSearch',
  'dnsOptions',
] as const

/**
 * Refuses options that would change what belongs to others.
 *
 * @throws `KEELSON_INVALID_OPTION`
 */
export function refuseContradictions(
  given: ContainerOptions,
  normalized: Record<'network' | 'pid' | 'ipc' | 'uts' | 'userns', unknown> & {
    mounts: readonly NormalizedMount[]
  },
): void {
  const { network, pid, ipc, uts, userns, mounts } = normalized
  for (const name of ['hostname', 'domainname'] as const) {
    if (uts !== 'private' && given[name] !== undefined) {
      const whom = uts === 'host' ? 'the host' : 'the other container'
      throw invalid(name, `would rename ${whom}`, "Leave it out, or give uts: 'private'.")
    }
  }
  for (const name of WITH_NETWORK) {
    const asked = given[name] !== undefined && Object.keys(Object(given[name])).length > 0
    if (isShare(network) && asked) {
      throw invalid(
        name,
        'belongs to the container whose network is joined',
        'Give it to that one, or a network of its own to this one.',
      )
    }
  }
  const shares = [network, pid, ipc, uts].some(isShare)
  if (userns !== 'host' && shares) {
    throw invalid(
      'userns',
      "cannot be combined with another container's namespaces",
      'They belong to other users: leave userns out, or join nothing.',
    )
  }
  if (userns === 'host' && mounts.some((mount) => mount.type === 'bind' && mount.idmap)) {
    throw invalid(
      'mounts',
      'has an idmap, and userns is host',
      "Ids are mapped for a container with userns: 'auto' or mappings of its own.",
    )
  }
}
