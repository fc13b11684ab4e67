/**
 * Who to be at a registry: a name and password, an identity token (OAuth2 refresh token) that buys access tokens, or a
 * token that the registry takes as it is.
 */
export type RegistryAuth =
  { username: string; password: string } | { identityToken: string } | { registryToken: string }

/**
 * How to reach one registry host. Everything has a default that suits a public registry.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises'
 * import { Engine } from 'keelson'
 *
 * const password = process.env['REGISTRY_PASSWORD'] ?? ''
 * await using engine = await Engine.open({
 *   registries: {
 *     'docker.io': { mirrors: ['mirror.example.com'] },
 *     'registry.example.com:5000': { ca: await readFile('ca.pem'), auth: { username: 'ci', password } },
 *   },
 * })
 * ```
 */
export interface RegistryOptions {
  /**
   * Registries to ask first, in order; the host itself is asked last. `[http[s]://]host[:port][/prefix]`: with a prefix,
   * `library/alpine` is looked for as `prefix/library/alpine`. A mirror's own options are those under its own host name.
   */
  mirrors?: string[]
  /**
   * Accept any certificate, and plain HTTP when the host speaks no TLS. Default: true for loopback addresses and `localhost`
   * (unless `ca` is given), else false.
   */
  insecure?: boolean
  /** PEM certificates to trust besides the usual ones. Also read from `*.crt` in `/etc/docker/certs.d/<host>`. */
  ca?: string | Buffer
  /** PEM client certificate; needs `key`. Also read from `*.cert` in `/etc/docker/certs.d/<host>`. */
  cert?: string | Buffer
  /** PEM private key of `cert`. */
  key?: string | Buffer
  /** Default: what Docker's and Podman's configuration files and credential helpers know for the host. */
  auth?: RegistryAuth
  /** `http[s]://[user:password@]host:port`, or false for none. Default: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. */
  proxy?: string | false
}

/** Milliseconds. */
export interface RegistryTimeouts {
  /** For a TCP or TLS connection. Default 10,000. */
  connect: number
  /** Until the headers of an answer. Default 30,000. */
  response: number
  /** Without a single byte of a body. Default 30,000. */
  stall: number
  /** For a credential helper. Default 30,000. */
  credentialHelper: number
}

/** How failures that may pass are tried again. Milliseconds. */
export interface RetryPolicy {
  /** Tries in all, the first included; of a blob, tries without progress. Default 5. */
  attempts: number
  /** The first pause; it doubles each time and is shortened at random by up to half. Default 250. */
  base: number
  /** The longest pause. Default 10,000. */
  max: number
  /** A registry that asks (`Retry-After`) for a longer pause is given up at once. Default 60,000. */
  maxRetryAfter: number
  /** Waits. Rejects when the signal fires. Default: a timer. */
  pause: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>
}

/** Everything a {@link RegistryClient} can be told. */
export interface RegistryClientOptions {
  /** Host, and port where it is not the usual one, to options. */
  registries?: Record<string, RegistryOptions> | undefined
  /** Blobs under way at once for one host. Default 6. */
  maxDownloadsPerHost?: number
  timeouts?: Partial<RegistryTimeouts>
  retry?: Partial<RetryPolicy>
  /** Where `HTTPS_PROXY`, `DOCKER_CONFIG` and the like are looked up. Default `process.env`. */
  env?: NodeJS.ProcessEnv
  /** Where `.docker/config.json` is looked for. Default: that of the user. */
  homeDirectory?: string
  /** Directories with one directory of certificates a host. Default `/etc/docker/certs.d` and `/etc/containers/certs.d`. */
  certificateDirectories?: string[]
}

export const DEFAULT_TIMEOUTS: RegistryTimeouts = {
  connect: 10_000,
  response: 30_000,
  stall: 30_000,
  credentialHelper: 30_000,
}
