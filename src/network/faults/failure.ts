import { keelsonError } from '../../errors.ts'
import { helperFailure } from '../../runtime/connection.ts'
import type { HelperFailure } from '../../runtime/protocol.ts'

/** What the kernel must have, by the step that shows that it has not. */
const FEATURES: [step: RegExp, feature: string, remedy: string][] = [
  [
    /^make the (table|chain) netdev/,
    'nf_tables rules on what the host sends',
    "It needs Linux 5.16 with CONFIG_NETFILTER_EGRESS; without 'host', and between containers, links can have faults all the same.",
  ],
  [
    /^make the (table|chain) bridge/,
    'nf_tables rules in bridges',
    'Load the kernel module nf_tables with CONFIG_NF_TABLES_BRIDGE (Linux 5.12 or later).',
  ],
  [/netlink|^make the |^begin a batch/, 'nf_tables', 'Load the kernel module nf_tables.'],
  [/^make veth /, 'veth links', 'Load the kernel module veth.'],
  [/^open the port for packets/, 'packet sockets', 'Load the kernel module af_packet.'],
]
const LACKING: ReadonlySet<unknown> = new Set([
  'EOPNOTSUPP',
  'ENOTSUP',
  'EAFNOSUPPORT',
  'EPROTONOSUPPORT',
  'ENOENT',
  'ENOPROTOOPT',
  'EINVAL',
])

/** Says of a step that failed what the kernel lacks; other errors stay as they are. */
export function faultError(error: unknown): unknown {
  const failure = helperFailure(error)
  const missing = failure && lacking(failure)
  if (missing !== undefined) {
    const { feature, remedy } = missing
    return keelsonError(
      'KEELSON_UNSUPPORTED',
      `This kernel has no ${feature}, which the fault needs.`,
      {
        cause: error,
        feature,
        hint: remedy,
      },
    )
  }
  if (failure?.errno !== 'EPERM') return error
  return keelsonError('KEELSON_PERMISSION', 'This user may not make faults in networks.', {
    cause: error,
    hint: 'It needs CAP_NET_ADMIN in the network namespace of the bridge.',
  })
}

function lacking({ step, errno }: HelperFailure) {
  if (!LACKING.has(errno)) return undefined
  const found = FEATURES.find(([pattern]) => pattern.test(step))
  return found && { feature: found[1], remedy: found[2] }
}
