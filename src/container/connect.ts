import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, isIP, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { keelsonError, KeelsonError } from '../errors.ts'
import { helperFailure } from '../runtime/connection.ts'
import { errnoOf, storageError } from '../store/errno.ts'
import { abortedError, throwIfAborted } from '../util/abort.ts'
import type { ContainerCore } from './core.ts'

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
  const pid = await core.until((state) => (state && state.pid > 0 ? state.pid : undefined), {
    signal,
    what,
  })
  try {
    if (core.record.options.network === 'host') return await direct(port, host, signal)
    return await relayed(core, { pid, port, host }, signal)
  } catch (error) {
    if (signal?.aborted === true) throw abortedError(signal, what)
    throw refusal(error, core, port)
  }
}

async function direct(
  port: number,
  host: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Socket> {
  const socket = connect({ port, host: host ?? 'localhost', ...(signal && { signal }) })
  await once(socket, 'connect')
  return socket
}

/** Node cannot take over a socket that is made elsewhere, so the helper passes the bytes on to a unix socket. */
async function relayed(
  core: ContainerCore,
  target: { pid: number; port: number; host: string | undefined },
  signal: AbortSignal | undefined,
): Promise<Socket> {
  const { launcher, directory } = core.context.run
  const path = join(directory, `${randomBytes(4).toString('hex')}.sock`)
  const over = new AbortController()
  const own = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal])
  await using server = await listen(path)
  const connected = once(server.value, 'connection') as Promise<[Socket]>
  connected.catch(() => {})
  const relay = launcher.request('net.connect', { ...target, socket: path }, { signal: own })
  // It ends before anybody is connected only by failing.
  const failed = relay.then(() => connected)
  const [socket] = await Promise.race([connected, failed])
  // Left alone by us, the relay would wait for the other side to hang up.
  socket.once('close', () => over.abort())
  relay.catch((error: unknown) => {
    if (!over.signal.aborted) socket.destroy(error instanceof Error ? error : undefined)
  })
  return socket
}

async function listen(path: string): Promise<{ value: Server } & AsyncDisposable> {
  const server = createServer()
  try {
    server.listen(path)
    await once(server, 'listening')
  } catch (error) {
    throw storageError(error, 'listen on', path)
  }
  return {
    value: server,
    // Waits for no connection: the one there is goes on.
    [Symbol.asyncDispose]: async () => void server.close(),
  }
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
