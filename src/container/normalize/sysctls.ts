import { isShare } from '../namespaces/options.ts'
import { entries, invalid, text } from './values.ts'

const IPC_SYSCTL = /^(?:kernel\.(?:shm|msg)\w*|kernel\.sem|fs\.mqueue\.\w+)$/

export function sysctlRecord(
  sysctls: Record<string, string> | undefined,
  { network, ipc }: { network: unknown; ipc: unknown },
): Record<string, string> {
  const pairs = entries('sysctls', sysctls)
  for (const [name, value] of pairs) {
    text('sysctls', value)
    if (!/^[a-z0-9_]+(?:[./][a-zA-Z0-9_-]+)+$/.test(name) || name.includes('..')) {
      throw invalid('sysctls', `has a malformed name ${JSON.stringify(name)}`)
    }
    const namespaced =
      (name.startsWith('net.') && isOwn(network)) || (IPC_SYSCTL.test(name) && isOwn(ipc))
    if (!namespaced) {
      throw invalid(
        'sysctls',
        `would change ${name} of the host, or of another container`,
        "Only parameters of the container's own network and ipc namespaces can be set.",
      )
    }
  }
  return Object.fromEntries(pairs)
}

/** Not the host's, and not another container's. */
function isOwn(namespace: unknown): boolean {
  return namespace !== 'host' && !isShare(namespace)
}
