import { setMaxListeners } from 'node:events'
import { keelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { digestAlgorithm, digestOf, parseDigest, type Digest } from '../oci/digest.ts'
import { decodeManifest, MAX_MANIFEST_BYTES } from '../oci/manifest.ts'
import { MANIFEST_MEDIA_TYPES } from '../oci/media-types.ts'
import type { Reference } from '../oci/reference.ts'
import { throwIfAborted } from '../util/abort.ts'
import { printable } from '../util/printable.ts'
import { Authorizer } from './auth.ts'
import { readBody, readExplanation, type Reading } from './body.ts'
import { download } from './download.ts'
import { Exchanger } from './exchange.ts'
import { isConnectionError, isEnded, protocolFailure, statusFailure } from './failure.ts'
import { endpointsOf, normalizeRegistries, type Endpoint } from './hosts.ts'
import { DownloadLimits } from './limits.ts'
import {
  DEFAULT_TIMEOUTS,
  type RegistryAuth,
  type RegistryClientOptions,
  type RegistryOptions,
  type RegistryTimeouts,
  type RetryPolicy,
} from './options.ts'
import { DEFAULT_RETRY, retrying } from './retry.ts'
import { Schemes } from './scheme.ts'
import { putManifest, uploadBlob, type PushBlobOptions, type PushTarget } from './upload.ts'
import { defaultCertificateDirectories, Transport } from './transport.ts'

/** A mirror that could not be reached is left out for so long. Milliseconds. */
const MIRROR_REST = 60_000

/** A manifest or index as the registry keeps it, byte for byte. */
export interface FetchedManifest {
  descriptor: Descriptor
  bytes: Buffer
}

interface CallOptions {
  signal?: AbortSignal | undefined
  /** For the registry that the reference names; its mirrors use their own. */
  auth?: RegistryAuth | undefined
  /** False: ask the registry itself only. Of use when a mirror sent bytes with the wrong digest. */
  mirrors?: boolean
}

/**
 * Reads from, and writes to, registries that speak the OCI distribution specification. Every answer is bounded and, where its digest is known, verified;
 * credentials reach nobody but the host that they are for. Holds connections open until it is closed.
 *
 * @example
 * ```ts
 * import { parseReference } from '../oci/reference.ts'
 * import { RegistryClient } from './client.ts'
 *
 * await using client = new RegistryClient()
 * const { descriptor, bytes } = await client.manifest(parseReference('alpine:3.22'))
 * ```
 */
export class RegistryClient {
  readonly #registries: Record<string, RegistryOptions>
  readonly #timeouts: RegistryTimeouts
  readonly #retry: RetryPolicy
  readonly #limits: DownloadLimits
  readonly #transport: Transport
  readonly #exchanger: Exchanger
  /** Mirror to the time of `performance.now()` until which it is left out. */
  readonly #resting = new Map<string, number>()

  /** @throws `KEELSON_INVALID_OPTION` for a malformed mirror. */
  constructor(options: RegistryClientOptions = {}) {
    const { env = process.env, homeDirectory } = options
    this.#registries = normalizeRegistries(options.registries ?? {})
    for (const name of Object.keys(this.#registries)) endpointsOf(name, this.#registries)
    this.#timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts }
    this.#retry = { ...DEFAULT_RETRY, ...options.retry }
    this.#limits = new DownloadLimits(options.maxDownloadsPerHost ?? 6)
    this.#transport = new Transport({
      registries: this.#registries,
      timeouts: this.#timeouts,
      certificateDirectories:
        options.certificateDirectories ?? defaultCertificateDirectories(homeDirectory),
      env,
    })
    const authorizer = new Authorizer(this.#transport, {
      registries: this.#registries,
      sources: { env, homeDirectory, helperTimeout: this.#timeouts.credentialHelper },
      stall: this.#timeouts.stall,
    })
    this.#exchanger = new Exchanger(this.#transport, authorizer, new Schemes(this.#transport))
  }

  /**
   * The manifest or index that a reference names, or `digest` of its repository. By digest, the bytes are verified against it; by tag, against
   * the digest that the registry states. At most 4 MiB.
   *
   * @throws `KEELSON_IMAGE_NOT_FOUND`, `KEELSON_REGISTRY_*`, `KEELSON_DIGEST_MISMATCH`, `KEELSON_MANIFEST_*`, `KEELSON_CREDENTIALS`,
   * `KEELSON_ABORTED`
   */
  async manifest(
    reference: Reference,
    options: CallOptions & { digest?: Digest | undefined } = {},
  ): Promise<FetchedManifest> {
    throwIfAborted(options.signal, `looking up ${reference.toString()}`)
    const digest = options.digest ?? reference.digest
    return await this.#firstOf(reference, options, (endpoint, policy, auth) =>
      retrying(
        () => this.#manifestAt(endpoint, reference, digest, auth, options.signal),
        policy,
        options.signal,
      ),
    )
  }

  /**
   * The bytes of a blob from `offset` (default 0) to exactly `descriptor.size`. A cut connection is taken up again where it was; when mirrors
   * fail, the registry itself goes on. The size is enforced; *the digest is for the caller to check*. Nothing is asked before the first byte is wanted.
   *
   * @throws `KEELSON_BLOB_NOT_FOUND`, `KEELSON_SIZE_MISMATCH`, `KEELSON_REGISTRY_*`, `KEELSON_CREDENTIALS`, `KEELSON_ABORTED`
   */
  async *blob(
    reference: Reference,
    descriptor: Descriptor,
    options: CallOptions & { offset?: number } = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { digest, size } = descriptor
    const { signal } = options
    let position = options.offset ?? 0
    if (!Number.isSafeInteger(position) || position < 0 || position > size) {
      throw keelsonError(
        'KEELSON_INVALID_OPTION',
        `A blob of ${size} bytes has no offset ${position}.`,
      )
    }
    throwIfAborted(signal, `downloading ${digest}`)
    // All layers of an image may listen to one signal: no leak, and no reason for Node to warn of one.
    if (signal !== undefined) setMaxListeners(0, signal)
    const endpoints = this.#endpoints(reference, options)
    for (const endpoint of endpoints) {
      const auth = endpoint.mirror ? undefined : options.auth
      const leave = await this.#limits.enter(endpoint.host, signal)
      try {
        for await (const chunk of download({
          digest,
          size,
          offset: position,
          open: (offset) =>
            this.#exchanger.ask({
              endpoint,
              repository: reference.repository,
              resource: `blobs/${digest}`,
              headers: offset === 0 ? {} : { range: `bytes=${offset}-` },
              auth,
              signal,
            }),
          retry: this.#policyFor(endpoint),
          reading: this.#reading(signal),
        })) {
          position += chunk.length
          yield chunk
        }
        return
      } catch (error) {
        this.#note(endpoint, error)
        if (isEnded(error) || !endpoint.mirror) throw error
      } finally {
        leave()
      }
    }
  }

  /**
   * Brings a blob into a repository: not at all when it is there, without its bytes when the registry mounts it from another
   * repository of its own, else by an upload, which begins anew after a failure that may pass.
   *
   * @throws `KEELSON_REGISTRY_*`, `KEELSON_CREDENTIALS`, `KEELSON_ABORTED`, and what the source throws
   */
  async pushBlob(
    reference: Reference,
    descriptor: Descriptor,
    source: () => AsyncIterable<Uint8Array>,
    options: PushBlobOptions = {},
  ): Promise<'exists' | 'mounted' | 'uploaded'> {
    const { signal } = options
    throwIfAborted(signal, `pushing ${descriptor.digest}`)
    if (signal !== undefined) setMaxListeners(0, signal)
    const endpoint = this.#origin(reference)
    const leave = await this.#limits.enter(endpoint.host, signal)
    try {
      const target = this.#target(endpoint, reference, options)
      return await retrying(
        () => uploadBlob(target, descriptor, source, options),
        this.#retry,
        signal,
      )
    } finally {
      leave()
    }
  }

  /**
   * Puts a manifest or index, byte for byte, under the reference's tag, or under its digest when it has no tag.
   *
   * @throws `KEELSON_REGISTRY_*`, `KEELSON_CREDENTIALS`, `KEELSON_ABORTED`
   */
  async pushManifest(
    reference: Reference,
    manifest: FetchedManifest,
    options: CallOptions = {},
  ): Promise<void> {
    throwIfAborted(options.signal, `pushing ${reference.toString()}`)
    const target = this.#target(this.#origin(reference), reference, options)
    await retrying(() => putManifest(target, reference, manifest), this.#retry, options.signal)
  }

  /** Ends every request under way and every connection. */
  async close(): Promise<void> {
    await this.#transport.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #manifestAt(
    endpoint: Endpoint,
    reference: Reference,
    digest: Digest | undefined,
    auth: RegistryAuth | undefined,
    signal: AbortSignal | undefined,
  ): Promise<FetchedManifest> {
    const answer = await this.#exchanger.ask({
      endpoint,
      repository: reference.repository,
      resource: `manifests/${digest ?? reference.tag ?? 'latest'}`,
      headers: { accept: MANIFEST_MEDIA_TYPES.join(', ') },
      auth,
      signal,
    })
    const reading = { ...this.#reading(signal), total: this.#timeouts.stall * 4 }
    if (answer.status !== 200) {
      throw statusFailure(answer, await readExplanation(answer, reading), {
        kind: 'manifest',
        name: reference.toString(),
      })
    }
    const bytes = await readBody(answer, MAX_MANIFEST_BYTES, reading)
    const stated = answer.headers['docker-content-digest']
    const verified = verify(bytes, digest ?? statedDigest(stated, endpoint), endpoint)
    const { mediaType } = decodeManifest(bytes, mediaTypeOf(answer.headers['content-type']))
    return { descriptor: { mediaType, digest: verified, size: bytes.length }, bytes }
  }

  /** Asks one endpoint after the other. What the last one, the registry itself, says is what counts. */
  async #firstOf<T>(
    reference: Reference,
    options: CallOptions,
    ask: (endpoint: Endpoint, policy: RetryPolicy, auth: RegistryAuth | undefined) => Promise<T>,
  ): Promise<T> {
    let failure: unknown
    for (const endpoint of this.#endpoints(reference, options)) {
      try {
        const auth = endpoint.mirror ? undefined : options.auth
        return await ask(endpoint, this.#policyFor(endpoint), auth)
      } catch (error) {
        this.#note(endpoint, error)
        if (isEnded(error)) throw error
        failure = error
      }
    }
    throw failure
  }

  #endpoints(reference: Reference, options: CallOptions): Endpoint[] {
    const now = performance.now()
    return endpointsOf(reference.registry, this.#registries).filter(
      ({ mirror, host }) =>
        !mirror || (options.mirrors !== false && (this.#resting.get(host) ?? 0) <= now),
    )
  }

  /** Mirrors are for reading. */
  #origin(reference: Reference): Endpoint {
    const endpoint = endpointsOf(reference.registry, this.#registries).at(-1)
    if (endpoint === undefined) throw new RangeError(`no endpoint of ${reference.registry}`)
    return endpoint
  }

  #target(endpoint: Endpoint, reference: Reference, { auth, signal }: CallOptions): PushTarget {
    const reading = { ...this.#reading(signal), total: this.#timeouts.stall * 4 }
    const { repository } = reference
    return { exchanger: this.#exchanger, endpoint, repository, auth, signal, reading }
  }

  #note(endpoint: Endpoint, error: unknown): void {
    if (endpoint.mirror && isConnectionError(error)) {
      this.#resting.set(endpoint.host, performance.now() + MIRROR_REST)
    }
  }

  /** A mirror has somebody behind it: patience is for the last one. */
  #policyFor(endpoint: Endpoint): RetryPolicy {
    const { attempts } = this.#retry
    return endpoint.mirror ? { ...this.#retry, attempts: Math.min(2, attempts) } : this.#retry
  }

  #reading(signal: AbortSignal | undefined): Reading {
    return { stall: this.#timeouts.stall, signal }
  }
}

/** The digest that the bytes really have, which is the wanted one if there is one. */
function verify(bytes: Buffer, wanted: Digest | undefined, endpoint: Endpoint): Digest {
  const digest = digestOf(bytes, wanted === undefined ? 'sha256' : digestAlgorithm(wanted))
  if (wanted !== undefined && digest !== wanted) {
    throw keelsonError(
      'KEELSON_DIGEST_MISMATCH',
      `The registry ${endpoint.host} sent a manifest with another digest than ${wanted}.`,
      {
        hint: 'The image is damaged there, or something on the way changes it.',
        registry: endpoint.host,
        expected: wanted,
        actual: digest,
      },
    )
  }
  return digest
}

function statedDigest(
  header: string | string[] | undefined,
  endpoint: Endpoint,
): Digest | undefined {
  if (header === undefined) return undefined
  try {
    return parseDigest(String(header).trim())
  } catch (cause) {
    const text = printable(String(header))
    throw protocolFailure(endpoint.host, `states a malformed digest: ${text}`, { cause })
  }
}

function mediaTypeOf(contentType: string | undefined): string | undefined {
  return contentType?.split(';', 1)[0]?.trim()
}
