import { open } from 'node:fs/promises'
import { errnoOf, storageError } from '../../store/errno.ts'

/** A socket that takes connections, or, for UDP, datagrams from anybody. */
export interface ListeningSocket {
  protocol: 'tcp' | 'udp'
  /** `0.0.0.0` and `::` are all addresses. */
  address: string
  port: number
}

const TABLES = ['tcp', 'tcp6', 'udp', 'udp6'] as const

/** Those of the network namespace that a process is in. */
export async function readListening(pid: number): Promise<ListeningSocket[]> {
  const texts = await Promise.all(TABLES.map((table) => beginning(`/proc/${pid}/net/${table}`)))
  return TABLES.flatMap((table, index) =>
    parseSockets(texts[index] ?? '', table.startsWith('tcp') ? 'tcp' : 'udp'),
  )
}

/** `/proc/net/tcp` and its like (Documentation/networking/proc_net_tcp.rst). Pure. */
export function parseSockets(text: string, protocol: 'tcp' | 'udp'): ListeningSocket[] {
  const lines = text.matchAll(
    /^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) (\w\w) /gm,
  )
  return [...lines].flatMap(([, address = '', port = '', , remote, state]) => {
    // LISTEN; UDP knows no such state: what is bound (CLOSE) and has no peer takes what comes.
    const listens = protocol === 'tcp' ? state === '0A' : state === '07' && remote === '0000'
    const number = Number.parseInt(port, 16)
    return listens && number > 0 ? [{ protocol, address: addressOf(address), port: number }] : []
  })
}

/** Words of 32 bits in the byte order of the processors that Node and the helper are built for. */
function addressOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) =>
    [...Buffer.from(word, 'hex')].toReversed(),
  )
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0)).toString(16),
  )
  return canonicalAddress(groups.join(':'))
}

/** The one way to write an address. */
export function canonicalAddress(address: string): string {
  if (!address.includes(':')) return address
  const url = `http://[${address}]`
  return URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : address
}

/** Listening sockets come first in these files; a container with very many connections shall cost no more than others. */
const MOST = 1024 * 1024

async function beginning(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r')
    const buffer = Buffer.alloc(64 * 1024)
    const chunks: Buffer[] = []
    for (let size = 0; size < MOST;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length)
      if (bytesRead === 0) break
      size += bytesRead
      chunks.push(Buffer.from(buffer.subarray(0, bytesRead)))
    }
    return Buffer.concat(chunks).toString('latin1')
  } catch (error) {
    // The process has ended, or the kernel has no IPv6.
    if (['ENOENT', 'ESRCH', 'EINVAL'].includes(errnoOf(error) ?? '')) return ''
    throw storageError(error, 'read', path)
  }
}
