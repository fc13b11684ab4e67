import { once } from 'node:events'
import type { Agent, AgentOptions, ClientRequestArgs } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { callbackify } from 'node:util'

/** What {@link Container.agent} takes, beside the options of an `http.Agent`. */
export interface ContainerAgentOptions extends AgentOptions {
  /** For `https:`; an object has the options of `tls.connect()`, as `ca` or `rejectUnauthorized`. Default `false`. */
  tls?: boolean | ConnectionOptions
}

/** Whom undici wants to be connected to. */
export interface ConnectorTarget {
  protocol: string
  /** Empty: the protocol's own. */
  port: string
  hostname: string
  servername?: string | null | undefined
}

/** As undici's `Agent`, `Pool` and `Client` take it in their option `connect`. */
export type Connector = (
  target: ConnectorTarget,
  callback: (...result: [null, Socket | TLSSocket] | [Error, null]) => void,
) => void

type Dial = (port: number) => Promise<Socket>

/** One whose connections lead into a container, whatever host a request names. */
export function containerAgent(dial: Dial, options: ContainerAgentOptions = {}): Agent {
  const { tls = false, ...rest } = options
  // Loaded here and not with the engine, which does well without.
  const http = process.getBuiltinModule('node:http')
  const https = process.getBuiltinModule('node:https')
  const agent = tls === false ? new http.Agent(rest) : new https.Agent(rest)
  const connect = async (target: ClientRequestArgs): Promise<Duplex> => {
    const socket = await dial(Number(target.port ?? (tls === false ? 80 : 443)))
    if (tls === false) return socket
    return secured(socket, { ...target, ...(typeof tls === 'object' && tls) } as ConnectionOptions)
  }
  agent.createConnection = (target, callback) => {
    callbackify(connect)(target, (error, stream) => callback?.(error, stream))
    return undefined
  }
  return agent
}

/** @param tls options of `tls.connect()` for `https:` */
export function containerConnector(dial: Dial, tls: ConnectionOptions = {}): Connector {
  const connect = async ({ protocol, port, hostname, servername }: ConnectorTarget) => {
    const secure = protocol === 'https:'
    const socket = await dial(Number(port === '' ? (secure ? 443 : 80) : port))
    if (!secure) return socket
    const names = { servername: servername ?? hostname, ALPNProtocols: ['http/1.1'] }
    const stream = secured(socket, { ...names, ...tls })
    await once(stream, 'secureConnect')
    return stream
  }
  return (target, callback) => {
    callbackify(connect)(target, (error, stream) => {
      if (error === null) callback(null, stream)
      else callback(error, null)
    })
  }
}

function secured(socket: Socket, options: ConnectionOptions): TLSSocket {
  return process.getBuiltinModule('node:tls').connect({ ...options, socket })
}
