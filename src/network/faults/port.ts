/** The link by which packets come from a network's bridge to the helper, and go back. Pure. */
import type { FaultsUpdate } from '../../runtime/network-protocol.ts'
import { bridgeName, type NetworkRecord } from '../record.ts'

/** Its end in the helper's own network namespace. */
const INSIDE = 'port0'

/** @param name of its end on the host */
export function planPort(record: NetworkRecord, name: string): NonNullable<FaultsUpdate['port']> {
  return {
    outside: name,
    name: INSIDE,
    host: [
      // One of an attempt that failed.
      { do: 'delete', name },
      {
        do: 'add',
        name,
        kind: 'veth',
        peer: INSIDE,
        // What is lost, or has to wait, are packets as they are on the wire.
        gsoMaxSegs: 1,
        ...(record.mtu !== undefined && { mtu: record.mtu }),
      },
      {
        do: 'set',
        name,
        master: bridgeName(record.id),
        // Nobody lives behind it: it gets what is led to it, and sends in the name of others.
        learning: false,
        flood: false,
        // What the bridge lets nobody do is not to be done this way.
        ...(!record.interContainer && { isolated: true }),
        up: true,
      },
    ],
    inside: [
      { do: 'sysctl', path: `net/ipv6/conf/${INSIDE}/disable_ipv6`, value: '1' },
      { do: 'set', name: INSIDE, up: true },
    ],
  }
}
