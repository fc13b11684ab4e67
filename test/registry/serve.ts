import http from 'node:http'
import https from 'node:https'
import net, { type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { onTestFinished } from 'vitest'

export interface Served {
  /** `127.0.0.1:port` */
  host: string
  /** `METHOD path` of every request, in order. */
  requests: string[]
  headers: http.IncomingHttpHeaders[]
  /** How many were made. */
  connections: number
}

interface ServeOptions {
  tls?: https.ServerOptions
  address?: string
}

/** A real HTTP(S) server on loopback with one behaviour, closed when the test ends. */
export async function serve(
  handler: (request: http.IncomingMessage, answer: http.ServerResponse, served: Served) => void,
  { tls, address = '127.0.0.1' }: ServeOptions = {},
): Promise<Served> {
  const listener = (request: http.IncomingMessage, answer: http.ServerResponse) => {
    served.requests.push(`${request.method} ${request.url}`)
    served.headers.push(request.headers)
    handler(request, answer, served)
  }
  const server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    served.connections++
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  })
  server.on('tlsClientError', () => {})
  server.listen(0, address)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const served: Served = {
    host: `${address.includes(':') ? `[${address}]` : address}:${port}`,
    requests: [],
    headers: [],
    connections: 0,
  }
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return served
}

/** A server below HTTP. */
export async function rawServer(
  onConnection: (socket: Socket) => void,
): Promise<{ host: string; stop: () => Promise<void> }> {
  const sockets = new Set<Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const stop = async () => {
    if (!server.listening) return
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }
  onTestFinished(stop)
  return { host: `127.0.0.1:${port}`, stop }
}
