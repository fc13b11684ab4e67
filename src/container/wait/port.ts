import { isIP } from 'node:net'
import { keelsonError } from '../../errors.ts'
import { checkPort } from '../connect/connect.ts'
import { poll, runningPid, whileRunning, type WaitOptions } from './leaf.ts'
import { canonicalAddress, readListening, type ListeningSocket } from './sockets.ts'
import type { WaitStrategy } from './strategy.ts'

export interface WaitPortOptions extends WaitOptions {
  /** An address at which it must be reachable inside the container. Default: any, `127.0.0.1` alone, too. */
  host?: string
  /** Default `tcp`. */
  protocol?: 'tcp' | 'udp'
}

export function waitForPort(port: number, options: WaitPortOptions = {}): WaitStrategy {
  checkPort(port)
  const { host, protocol = 'tcp' } = options
  if (host !== undefined && isIP(host) === 0) {
    throw keelsonError('KEELSON_INVALID_OPTION', `"${host}" is not an IP address.`, {
      option: 'host',
      hint: 'Give an address of the container, as 127.0.0.1 or ::1.',
    })
  }
  const place = host === undefined ? '' : ` on ${host}`
  return whileRunning(`port ${port}/${protocol} to listen${place}`, options, (target, signal) =>
    poll(signal, async () => {
      const sockets = await readListening(await runningPid(target, signal))
      return sockets.some(
        (socket) =>
          socket.port === port &&
          socket.protocol === protocol &&
          (host === undefined || reaches(socket, canonicalAddress(host))),
      )
    }),
  )
}

function reaches({ address }: ListeningSocket, host: string): boolean {
  if (address === host) return true
  // A socket on all addresses of IPv6 takes IPv4, too, unless it says otherwise, which these files do not tell.
  return address === '::' || (address === '0.0.0.0' && isIP(host) === 4)
}
