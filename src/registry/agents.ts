import http from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import type { TlsSettings } from './certificates.ts'

/** How connections to one origin are made and kept. */
export interface Connection {
  agent: { http?: http.Agent; https?: https.Agent }
  /** In place of `http.request`, when requests go to a proxy in absolute form. */
  request?: (
    url: URL,
    options: http.RequestOptions,
    callback?: (answer: http.IncomingMessage) => void,
  ) => http.ClientRequest
  close(): void
}

const KEEP_ALIVE = { keepAlive: true, maxSockets: 16, maxFreeSockets: 8, timeout: 90_000 }

/** Connections for one origin, through a proxy if there is one: CONNECT for https, absolute requests for http. */
export function connectionTo(origin: URL, tlsOf: TlsSettings, proxy: URL | undefined): Connection {
  if (proxy === undefined) {
    return origin.protocol === 'https:'
      ? httpsConnection(new https.Agent({ ...KEEP_ALIVE, ...tlsOf }))
      : httpConnection(new http.Agent(KEEP_ALIVE))
  }
  if (origin.protocol === 'https:') return httpsConnection(new TunnelAgent(tlsOf, proxy))
  return forwardedConnection(proxy)
}

function httpsConnection(agent: https.Agent): Connection {
  return { agent: { https: agent }, close: () => agent.destroy() }
}

function httpConnection(agent: http.Agent): Connection {
  return { agent: { http: agent }, close: () => agent.destroy() }
}

function forwardedConnection(proxy: URL): Connection {
  const secure = proxy.protocol === 'https:'
  const agent = secure ? new https.Agent(KEEP_ALIVE) : new http.Agent(KEEP_ALIVE)
  return {
    agent: {},
    request: (url, options, callback) =>
      (secure ? https : http).request(
        {
          ...options,
          ...proxyAddress(proxy),
          agent,
          path: url.href,
          headers: { ...headersOf(options), host: url.host, ...proxyAuthorization(proxy) },
        },
        callback,
      ),
    close: () => agent.destroy(),
  }
}

/** TLS inside a tunnel that an HTTP proxy makes on request (RFC 9110, 9.3.6). */
class TunnelAgent extends https.Agent {
  readonly #proxy: URL

  constructor(tlsOf: TlsSettings, proxy: URL) {
    super({ ...KEEP_ALIVE, ...tlsOf })
    this.#proxy = proxy
  }

  override createConnection(
    options: https.RequestOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const done = callback as ((error: Error | null, stream?: Duplex) => void) | undefined
    const target = `${bracketed(String(options.host))}:${options.port ?? 443}`
    const request = (this.#proxy.protocol === 'https:' ? https : http).request({
      ...proxyAddress(this.#proxy),
      agent: false,
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...proxyAuthorization(this.#proxy) },
      timeout: options.timeout ?? 30_000,
    })
    request.once('error', (error) => done?.(error))
    request.once('timeout', () => request.destroy(proxyError(this.#proxy, 'does not answer')))
    request.once('connect', (answer, socket, head) => {
      socket.setTimeout(0)
      if (answer.statusCode !== 200 || head.length > 0) {
        socket.destroy()
        done?.(proxyError(this.#proxy, `refuses with status ${answer.statusCode}`))
        return
      }
      // `path` in the request's options would be taken for a unix socket.
      done?.(null, tls.connect({ ...(options as tls.ConnectionOptions), path: undefined, socket }))
    })
    request.end()
  }
}

function proxyError(proxy: URL, what: string): Error {
  return Object.assign(new Error(`the proxy ${proxy.host} ${what}`), { code: 'KEELSON_PROXY' })
}

function proxyAddress(proxy: URL): {
  protocol: string
  hostname: string
  host: string
  port: number
} {
  const hostname = proxy.hostname.replace(/^\[|\]$/g, '')
  const port = proxy.port === '' ? (proxy.protocol === 'https:' ? 443 : 80) : Number(proxy.port)
  return { protocol: proxy.protocol, hostname, host: hostname, port }
}

function proxyAuthorization(proxy: URL): Record<string, string> {
  if (proxy.username === '' && proxy.password === '') return {}
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` }
}

function headersOf(options: http.RequestOptions): http.OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(options.headers ?? {}))
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
