import { keelsonError } from '../../errors.ts'
import { readAttached } from '../../network/endpoint/attached.ts'
import type { PortProtocol, PublishedPort } from '../../network/firewall/ports.ts'
import { checkPort } from '../connect/connect.ts'
import type { ContainerCore } from '../core.ts'
import { refuseUnknown } from '../normalize/call.ts'
import { oneOf } from '../normalize/values.ts'

export interface PortOptions {
  /** Default `tcp`. */
  protocol?: PortProtocol
}

/** Where on this host a port of a container is reached. */
export interface PortAddress {
  /** `127.0.0.1` for one that is published on every address of the host. */
  host: string
  port: number
}

/** Where a published port is reached. */
export async function publishedAddress(
  core: ContainerCore,
  port: number,
  options: PortOptions = {},
): Promise<PortAddress> {
  checkPort(port)
  refuseUnknown(options, ['protocol'], 'port()')
  const protocol = oneOf('protocol', options.protocol, ['tcp', 'udp', 'sctp'])
  await core.mustAllow('connect')
  const found = readAttached(core.record.run)?.ports.find(
    (each) => each.container === port && each.protocol === protocol,
  )
  if (found !== undefined) return { host: reachable(found), port: found.host }
  const { name } = core.record
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    `The container ${name} does not publish its port ${port}/${protocol}.`,
    {
      option: 'port',
      container: core.id,
      hint: 'Create it with { ports: [...] }; connect() reaches it without.',
    },
  )
}

function reachable({ hostIp }: PublishedPort): string {
  if (hostIp === undefined || hostIp === '0.0.0.0') return '127.0.0.1'
  return hostIp === '::' ? '::1' : hostIp
}
