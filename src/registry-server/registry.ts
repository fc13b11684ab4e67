import { createServer as createHttpServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { keelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { isMediaType, MEDIA_TYPES } from '../oci/media-types.ts'
import { send, type Answer } from './answer.ts'
import { Authorization, type Credentials, type TokenOptions } from './authorization.ts'
import { MemoryBlobs } from './blobs.ts'
import { Content } from './content.ts'
import { DirectoryBlobs } from './directory-blobs.ts'
import { answerOfError, dispatch, type Incoming, type Parts } from './dispatch.ts'
import { answerOfFault, distort, type Fault } from './fault.ts'
import { Layout } from './layout.ts'
import { Repositories } from './repositories.ts'
import { isRepositoryName, isTag, parseRoute, type Route } from './route.ts'
import { Uploads } from './uploads.ts'

/** How {@link Registry.listen} serves. */
export interface RegistryOptions {
  /** Default: a free one. */
  port?: number
  /** Address to listen on. Default `127.0.0.1`. */
  host?: string
  /**
   * An OCI image layout directory to serve, and to write to unless `readonly`. Default: everything in memory.
   *
   * The annotation `org.opencontainers.image.ref.name` of an entry in `index.json` becomes its name: `busybox:1` is that, a leading
   * registry is left out, and a bare `1` is a tag of the repository called like the directory. `index.json` is read once, at the start.
   */
  layout?: string
  /** Refuse every push and deletion with 405. Default `false`. */
  readonly?: boolean
  /** The only user. Without `token` it is asked for by Basic authentication. Default: none, everybody may do everything. */
  auth?: Credentials
  /**
   * Ask for Bearer tokens, and issue them at `/token` on the same port: to anybody, or, with `auth`, to that user
   * (and to others as `anonymous` says). `true` takes every default.
   */
  token?: TokenOptions | true
  /** Serve HTTPS. With `ca`, clients must show a certificate that it has signed. PEM. */
  tls?: { cert: string | Buffer; key: string | Buffer; ca?: string | Buffer }
  /**
   * Sees every request before it is answered, and may say what is to go wrong with its answer: see {@link Fault}. An interceptor that
   * throws is answered with 500.
   *
   * @example
   * ```ts
   * import { Registry } from 'keelson/registry'
   *
   * // Every blob breaks off after 1000 bytes, unless it is being resumed.
   * await using registry = await Registry.listen({
   *   intercept: ({ kind, headers }) =>
   *     kind === 'blob' && headers.range === undefined ? { fault: 'cut', after: 1000 } : undefined,
   * })
   * ```
   */
  intercept?: (request: RegistryRequest) => Fault | undefined | Promise<Fault | undefined>
}

/** A request as an interceptor sees it. */
export interface RegistryRequest {
  method: string
  /** With its query. */
  url: string
  headers: IncomingHttpHeaders
  /** Which endpoint it is for; `other` when it is for none. */
  kind: Route['kind'] | 'other'
  repository?: string
  tag?: string
  digest?: Digest
  /** How many requests with this method and path came before: 0 for the first. */
  previous: number
}

/**
 * An OCI registry in this process, for tests and tools: pull and push as the OCI distribution specification 1.1 has them, strictly.
 * What does not agree with its digest, names content that is not there or comes out of order is refused.
 *
 * It is not built for the open network: it has one user at most and keeps everything in memory unless given a `layout`.
 *
 * @example
 * ```ts
 * import { Registry } from 'keelson/registry'
 *
 * await using registry = await Registry.listen({ layout: './images' })
 * console.log(`docker pull ${registry.host}/busybox:1`)
 * ```
 */
export class Registry implements AsyncDisposable {
  /** Where it listens, as a reference begins: `127.0.0.1:35017`. */
  readonly host: string
  /** `http://127.0.0.1:35017` */
  readonly url: string
  readonly #server: Server
  readonly #parts: Parts
  readonly #intercept: RegistryOptions['intercept']
  readonly #seen = new Map<string, number>()
  readonly #closeStorage: () => Promise<void>
  #closed: Promise<void> | undefined

  private constructor(
    server: Server,
    parts: Parts,
    options: RegistryOptions,
    closeStorage: () => Promise<void>,
  ) {
    this.#server = server
    this.#parts = parts
    this.#intercept = options.intercept
    this.#closeStorage = closeStorage
    this.host = hostOf(server.address(), options.host)
    this.url = `${options.tls === undefined ? 'http' : 'https'}://${this.host}`
    server.on('request', (request, response) => void this.#serve(request, response))
  }

  /**
   * Starts a registry. It has bound its port when the promise resolves.
   *
   * @throws `KEELSON_INVALID_OPTION` for options that make no sense or a `layout` that is none; `KEELSON_MANIFEST_INVALID` for one that
   *   is broken; `KEELSON_IO` when the port cannot be had.
   */
  static async listen(options: RegistryOptions = {}): Promise<Registry> {
    checkOptions(options)
    const readonly = options.readonly === true
    const blobs =
      options.layout === undefined ? new MemoryBlobs() : new DirectoryBlobs(options.layout)
    const layout =
      options.layout === undefined ? undefined : await Layout.open(options.layout, blobs, !readonly)
    const repositories = layout?.repositories ?? new Repositories()
    const uploads = new Uploads(blobs)
    const parts: Parts = {
      authorization: new Authorization(options.auth, options.token === true ? {} : options.token),
      repositories,
      content: new Content(blobs, repositories, async () => layout?.save()),
      uploads,
      readonly,
    }
    const server = await listen(options)
    return new Registry(server, parts, options, async () => {
      await uploads.close()
      await blobs.close()
    })
  }

  /**
   * Puts a blob into a repository without a request.
   *
   * @returns its descriptor, with the media type given
   */
  async addBlob(
    repository: string,
    content: Uint8Array | string,
    mediaType = 'application/octet-stream',
  ): Promise<Descriptor> {
    checkRepository(repository)
    const bytes = Buffer.from(content)
    const digest = await this.#parts.content.addBlob(repository, bytes)
    return { mediaType, digest, size: bytes.length }
  }

  /**
   * Puts a manifest into a repository without a request and, unlike a push, without any check: a test may serve what no registry would
   * take. An object is written as JSON; bytes and text are kept as they are.
   *
   * @param mediaType default: the document's own `mediaType`, or the OCI type that fits its shape
   */
  async addManifest(
    repository: string,
    tag: string | undefined,
    document: object | Uint8Array | string,
    mediaType?: string,
  ): Promise<Descriptor> {
    checkRepository(repository)
    if (tag !== undefined && !isTag(tag)) {
      throw keelsonError('KEELSON_INVALID_OPTION', 'this is not a tag', { tag })
    }
    const raw = typeof document === 'string' || document instanceof Uint8Array
    const bytes = Buffer.from(raw ? document : JSON.stringify(document))
    const type = mediaType ?? (raw ? MEDIA_TYPES.ociManifest : mediaTypeOf(document))
    return this.#parts.content.addManifest(repository, tag, bytes, type)
  }

  /** Ends the validity of every Bearer token issued so far. Clients have to ask for new ones. */
  revokeTokens(): void {
    this.#parts.authorization.revoke()
  }

  /** Closes the port and every connection, and drops uploads in progress. A layout directory stays. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
    await this.#closeStorage()
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = request.method ?? 'GET'
    const { path, query } = splitUrl(request.url ?? '/')
    let answer: Answer
    let fault: Fault | undefined
    try {
      fault = await this.#intercept?.(this.#describe(request, method, path))
      const instead = fault === undefined ? undefined : answerOfFault(fault)
      if (instead === 'hang') return
      answer =
        instead ??
        (await dispatch(this.#parts, {
          request,
          method,
          path,
          query,
          route: parseRoute(path),
          // The name the client used, so that certificates and credentials fit it.
          origin: this.url.replace(this.host, request.headers.host ?? this.host),
        } satisfies Incoming))
    } catch (error) {
      answer = answerOfError(error)
    }
    if (request.errored !== null) return
    const head = method === 'HEAD'
    try {
      await send(fault === undefined ? answer : distort(answer, fault), response, head)
    } catch (error) {
      // A header that no header can be: from a fault, or the media type of a manifest that was added unchecked.
      await send(answerOfError(error), response, head)
    }
  }

  #describe(request: IncomingMessage, method: string, path: string): RegistryRequest {
    const key = `${method} ${path}`
    const previous = this.#seen.get(key) ?? 0
    this.#seen.set(key, previous + 1)
    const { url = '/', headers } = request
    try {
      return { ...parseRoute(path), method, url, headers, previous }
    } catch {
      return { kind: 'other', method, url, headers, previous }
    }
  }
}

function checkOptions({ port, auth, host }: RegistryOptions): void {
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    throw keelsonError('KEELSON_INVALID_OPTION', 'port is a whole number from 0 to 65535', { port })
  }
  if (host === '') throw keelsonError('KEELSON_INVALID_OPTION', 'host is empty')
  if (auth !== undefined && (auth.username === '' || auth.username.includes(':'))) {
    throw keelsonError('KEELSON_INVALID_OPTION', 'a user name is not empty and has no colon')
  }
}

function checkRepository(name: string): void {
  if (!isRepositoryName(name)) {
    throw keelsonError('KEELSON_INVALID_OPTION', 'this is not a repository name', {
      hint: 'lower-case letters, digits and . _ - in components with / between: "team/app"',
      repository: name,
    })
  }
}

async function listen({ port = 0, host = '127.0.0.1', tls }: RegistryOptions): Promise<Server> {
  const server =
    tls === undefined
      ? createHttpServer()
      : createHttpsServer({
          ...tls,
          ...(tls.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: true }),
        })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(keelsonError('KEELSON_IO', `cannot listen on ${host}:${port}`, { cause })),
    )
    server.listen({ port, host }, resolve)
  })
  return server
}

function hostOf(address: AddressInfo | string | null, wanted = '127.0.0.1'): string {
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return wanted.includes(':') ? `[${wanted}]:${port}` : `${wanted}:${port}`
}

function splitUrl(url: string): { path: string; query: URLSearchParams } {
  const mark = url.indexOf('?')
  return mark < 0
    ? { path: url, query: new URLSearchParams() }
    : { path: url.slice(0, mark), query: new URLSearchParams(url.slice(mark + 1)) }
}

function mediaTypeOf(document: object): string {
  if ('mediaType' in document && typeof document.mediaType === 'string') {
    if (isMediaType(document.mediaType)) return document.mediaType
  }
  return 'manifests' in document ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest
}
