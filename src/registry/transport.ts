import { setMaxListeners } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import { homedir } from 'node:os'
import { Readable } from 'node:stream'
import type { Got } from 'got'
import { keelsonError, KeelsonError } from '../errors.ts'
import { abortedError, unlessAborted } from '../util/abort.ts'
import { VERSION } from '../util/version.ts'
import type { Connection } from './agents.ts'
import { connectionFailure } from './failure.ts'
import { registryName } from './hosts.ts'
import type { RegistryOptions, RegistryTimeouts } from './options.ts'
import { parseProxy, proxyFor } from './proxy.ts'

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT'

export interface Request {
  url: URL
  /** Default GET. */
  method?: Method
  headers: Record<string, string>
  /** A stream can be sent once; the answer is waited for from its last byte on. */
  body?: string | Uint8Array | AsyncIterable<Uint8Array>
  signal?: AbortSignal | undefined
}

export interface Answer {
  url: URL
  status: number
  headers: IncomingHttpHeaders
  /** Must be read to its end or destroyed. */
  body: Readable
}

export interface TransportSettings {
  registries: Record<string, RegistryOptions>
  timeouts: RegistryTimeouts
  certificateDirectories: readonly string[]
  env: NodeJS.ProcessEnv
}

/** Docker's and Podman's, of the system and then of the user. */
export function defaultCertificateDirectories(home = homedir()): string[] {
  return [
    '/etc/docker/certs.d',
    '/etc/containers/certs.d',
    `${home}/.config/docker/certs.d`,
    `${home}/.config/containers/certs.d`,
  ]
}

/** Sends single requests: connections, TLS, proxies and timeouts. It neither follows redirects nor tries again. */
export class Transport {
  readonly #settings: TransportSettings
  readonly #connections = new Map<string, Promise<Connection>>()
  readonly #closing = new AbortController()
  #got: Promise<Got> | undefined

  constructor(settings: TransportSettings) {
    this.#settings = settings
    // One listener for each request under way: no leak, whatever their number.
    setMaxListeners(0, this.#closing.signal)
  }

  /**
   * Resolves when the headers of an answer, whatever its status, are there.
   *
   * @throws `KEELSON_REGISTRY_UNREACHABLE` and its kin, `KEELSON_ABORTED`, `KEELSON_CLOSED`.
   */
  async send(request: Request): Promise<Answer> {
    const { url } = request
    const what = `the request to ${url.host}`
    const control = new AbortController()
    const unlink = follow(control, [request.signal, this.#closing.signal])
    const limit = this.#settings.timeouts.response
    const giveUp = () => control.abort(late(url, limit))
    let deadline = setTimeout(giveUp, limit)
    const alive = () => {
      clearTimeout(deadline)
      deadline = setTimeout(giveUp, limit)
    }
    try {
      const connection = await unlessAborted(this.#connection(url), control.signal, what)
      this.#got ??= import('got').then((module) => module.default)
      const stream = this.#open(
        await this.#got,
        connection,
        withSigns(request, alive),
        control.signal,
      )
      const { statusCode, headers } = await answerOf(stream)
      stream.once('close', unlink)
      return { url, status: statusCode, headers, body: stream }
    } catch (error) {
      unlink()
      if (control.signal.aborted) throw abortedError(control.signal, what)
      throw KeelsonError.is(error) ? error : connectionFailure(error, url)
    } finally {
      clearTimeout(deadline)
    }
  }

  /** Ends every request and connection. Later requests fail with `KEELSON_CLOSED`. */
  async close(): Promise<void> {
    this.#closing.abort(keelsonError('KEELSON_CLOSED', 'The registry client is closed.'))
    const connections = [...this.#connections.values()]
    this.#connections.clear()
    for (const connection of await Promise.allSettled(connections)) {
      if (connection.status === 'fulfilled') connection.value.close()
    }
  }

  #open(got: Got, connection: Connection, request: Request, signal: AbortSignal): GotStream {
    const { connect } = this.#settings.timeouts
    return got.stream({
      url: request.url,
      method: request.method ?? 'GET',
      headers: {
        // A compressed body would have neither the size nor the digest that was announced.
        'accept-encoding': 'identity',
        'user-agent': `keelson/${VERSION}`,
        ...request.headers,
      },
      ...(request.body !== undefined && { body: bodyOf(request.body) }),
      ...(connection.request !== undefined && { request: connection.request }),
      agent: connection.agent,
      signal,
      timeout: { lookup: connect, connect, secureConnect: connect },
      // Its own would begin a stream again from the start, and take credentials along.
      retry: { limit: 0 },
      followRedirect: false,
      decompress: false,
      throwHttpErrors: false,
    })
  }

  #connection(url: URL): Promise<Connection> {
    let connection = this.#connections.get(url.origin)
    if (connection === undefined) {
      connection = this.#connect(url)
      this.#connections.set(url.origin, connection)
      // A mistake in the configuration can be corrected while the program runs.
      connection.catch(() => this.#connections.delete(url.origin))
    }
    return connection
  }

  async #connect(url: URL): Promise<Connection> {
    const { registries, env, certificateDirectories } = this.#settings
    // With Node's HTTP and TLS, of which a program that pulls nothing has no need.
    const [{ connectionTo }, { tlsSettings }] = await Promise.all([
      import('./agents.ts'),
      import('./certificates.ts'),
    ])
    const name = registryName(url.host)
    const options = registries[name]
    const tls = await tlsSettings(name, options, certificateDirectories)
    const proxy =
      options?.proxy === undefined
        ? proxyFor(url, env)
        : options.proxy === false
          ? undefined
          : parseProxy(options.proxy, `The option proxy of the registry ${name}`)
    return connectionTo(url, tls, proxy)
  }
}

/** Tells of every piece that is taken of a body on its way. */
function withSigns(request: Request, alive: () => void): Request {
  const { body } = request
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return request
  return {
    ...request,
    body: (async function* () {
      for await (const chunk of body) {
        yield chunk
        alive()
      }
    })(),
  }
}

function bodyOf(body: NonNullable<Request['body']>): string | Buffer | Readable {
  if (typeof body === 'string') return body
  return body instanceof Uint8Array ? Buffer.from(body) : Readable.from(body, { objectMode: false })
}

type GotStream = ReturnType<Got['stream']>

function answerOf(
  stream: GotStream,
): Promise<{ statusCode: number; headers: IncomingHttpHeaders }> {
  return new Promise((resolve, reject) => {
    stream.once('response', resolve)
    // Stays for good: an error that comes while nobody reads must not end the process. Readers see it still.
    stream.on('error', reject)
  })
}

/** Lets `control` follow other signals until the function that comes back is called. */
function follow(control: AbortController, signals: (AbortSignal | undefined)[]): () => void {
  const undo: (() => void)[] = []
  for (const signal of signals) {
    if (signal === undefined) continue
    const abort = () => control.abort(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    undo.push(() => signal.removeEventListener('abort', abort))
  }
  return () => undo.forEach((each) => each())
}

function late(url: URL, limit: number): KeelsonError {
  return keelsonError(
    'KEELSON_REGISTRY_UNREACHABLE',
    `The server ${url.host} did not answer within ${limit} ms.`,
    {
      hint: 'Check the network, and any proxy between here and the registry.',
      registry: url.host,
      timeout: limit,
    },
  )
}
