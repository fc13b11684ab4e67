import { once } from 'node:events'
import { connect, isIP, type Socket } from 'node:net'
import { keelsonError, KeelsonError } from '../../errors.ts'
import { helperFailure } from '../../runtime/connection.ts'
import { errnoOf, storageError } from '../../store/errno.ts'
import { abortedError, throwIfAborted } from '../../util/abort.ts'
import type { ContainerCore } from '../core.ts'

export interface ConnectOptions {
  /** An IP address that the container has. Default: its loopback. */
  host?: string
  /** Ends the connection, too, once it stands. */
  signal?: AbortSignal
}

/** Dials a TCP port inside the network of a container: nothing has to be published. */
export async function connectTo(
  core: ContainerCore,
  port: number,
  { host, signal }: ConnectOptions,
): Promise<Socket> {
  checkAddress(port, host)
  const what = `connecting to ${core.record.name}`
  throwIfAborted(signal, what)
  await core.mustAllow('connect')
  const { pid, monitor } = await core.until(
    (state) => (state && state.pid > 0 ? state : undefined),
    {
      signal,
      what,
    },
  )
  try {
    const socket =
      core.record.options.network === 'host'
        ? await direct(port, host, signal)
        : await core.context.run.launcher.connect({ pid, parent: monitor, port, host }, { signal })
    if (signal !== undefined) endWith(signal, socket, what)
    return socket
  } catch (error) {
    if (signal?.aborted === true) throw abortedError(signal, what)
    // It has ended in the same moment.
    if (helperFailure(error)?.kind === 'not-running') await core.mustAllow('connect')
    throw refusal(error, core, port)
  }
}

async function direct(
  port: number,
  host: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Socket> {
  const socket = connect({ port, host: host ?? 'localhost' })
  try {
    await once(socket, 'connect', signal === undefined ? {} : { signal })
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  }
}

function endWith(signal: AbortSignal, socket: Socket, what: string): void {
  const end = () => void socket.destroy(abortedError(signal, what))
  if (signal.aborted) return end()
  signal.addEventListener('abort', end, { once: true })
  socket.once('close', () => signal.removeEventListener('abort', end))
}

export function checkPort(port: number): void {
  if (Number.isInteger(port) && port > 0 && port < 65_536) return
  throw keelsonError('KEELSON_INVALID_OPTION', `${String(port)} is not a port.`, {
    option: 'port',
    hint: 'It is a number from 1 to 65535.',
  })
}

function checkAddress(port: number, host: string | undefined): void {
  checkPort(port)
  if (host === undefined || isIP(host) !== 0) return
  throw keelsonError('KEELSON_INVALID_OPTION', `"${host}" is not an IP address.`, {
    option: 'host',
    hint: 'Give an address of the container, as 127.0.0.1 or ::1.',
  })
}

function refusal(error: unknown, core: ContainerCore, port: number): unknown {
  const errno = helperFailure(error)?.errno ?? errnoOf(error)
  if (errno !== 'ECONNREFUSED') {
    return KeelsonError.is(error) ? error : storageError(error, 'connect to', core.record.name)
  }
  return keelsonError(
    'KEELSON_CONNECTION_REFUSED',
    `Nothing in the container ${core.record.name} listens on port ${port}.`,
    {
      cause: error,
      container: core.id,
      port,
      hint: 'Wait until it does: container.ready(wait.port(...)).',
    },
  )
}
