/** The TCP connections of a network namespace, as its files tell. */
import { readFile } from 'node:fs/promises'
import { formatAddress } from '../addresses/address.ts'

/** Both ends, as the namespace's own side sees them. */
export interface Connection {
  local: string
  localPort: number
  remote: string
  remotePort: number
}

/** Of the namespace that a process is in; none when it is gone. */
export async function readConnections(pid: number): Promise<Connection[]> {
  const texts = await Promise.all(
    ['tcp', 'tcp6'].map((table) => readFile(`/proc/${pid}/net/${table}`, 'utf8').catch(() => '')),
  )
  return texts.flatMap(parseConnections)
}

/** ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING: those that a RST ends. */
const STATES: ReadonlySet<unknown> = new Set(['01', '04', '05', '08', '09', '0B'])

/** `/proc/net/tcp` and `tcp6` (Documentation/networking/proc_net_tcp.rst). Pure. */
export function parseConnections(text: string): Connection[] {
  const lines = text.matchAll(
    /^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) (\w\w) /gm,
  )
  return [...lines].flatMap(
    ([, local = '', localPort = '', remote = '', remotePort = '', state]) =>
      STATES.has(state)
        ? [
            {
              local: addressOf(local),
              localPort: Number.parseInt(localPort, 16),
              remote: addressOf(remote),
              remotePort: Number.parseInt(remotePort, 16),
            },
          ]
        : [],
  )
}

/** Words of 32 bits in the byte order of the processors that Node and the helper are built for. One of IPv4 in IPv6 is one of IPv4. */
function addressOf(hex: string): string {
  const words = (hex.match(/.{8}/g) ?? []).map((word) => [...Buffer.from(word, 'hex')].toReversed())
  const mapped = hex.startsWith('0000000000000000FFFF0000')
  const bytes = mapped ? (words.at(-1) ?? []) : words.flat()
  if (bytes.length === 4) return bytes.join('.')
  const value = bytes.reduce((high, byte) => (high << 8n) | BigInt(byte), 0n)
  return formatAddress({ family: 6, value })
}
