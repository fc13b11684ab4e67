import { createHash } from 'node:crypto'
import { unlessAborted } from '../util/abort.ts'
import { printable } from '../util/printable.ts'
import { parseChallenges, type Challenge } from './challenge.ts'
import { findCredentials, type CredentialSources } from './credentials.ts'
import { protocolFailure } from './failure.ts'
import type { Endpoint } from './hosts.ts'
import type { RegistryAuth, RegistryOptions } from './options.ts'
import { isDowngrade } from './redirect.ts'
import { TokenCache } from './token-cache.ts'
import { basicAuthorization, fetchToken } from './token.ts'
import type { Transport } from './transport.ts'

/** What access is wanted to. */
export interface Access {
  endpoint: Endpoint
  /** The endpoint's base URL: the only origin that credentials are sent to, tokens servers apart. */
  base: URL
  /** With the endpoint's prefix. */
  repository: string
  /** To write, too. */
  push: boolean
  /** Repositories to be read besides. */
  alsoPull: readonly string[]
  /** The caller's own, before anything configured. */
  auth: RegistryAuth | undefined
  signal: AbortSignal | undefined
}

export interface AuthSettings {
  registries: Record<string, RegistryOptions>
  sources: CredentialSources
  /** Milliseconds without a byte. */
  stall: number
}

/**
 * Answers the challenges of registries: Basic, and Bearer with tokens that are kept for their host, scope and user until they expire.
 * Work that several requests need is done once.
 */
export class Authorizer {
  readonly #transport: Transport
  readonly #settings: AuthSettings
  readonly #challenges = new Map<string, Challenge>()
  readonly #tokens = new TokenCache()
  readonly #refreshTokens = new Map<string, string>()
  readonly #credentials = new Map<string, Promise<RegistryAuth | undefined>>()

  constructor(transport: Transport, settings: AuthSettings) {
    this.#transport = transport
    this.#settings = settings
  }

  /** The authorization that this origin asked for the last time, to be sent without being asked again. */
  async known(access: Access): Promise<string | undefined> {
    if (access.auth !== undefined && 'registryToken' in access.auth) {
      return `Bearer ${access.auth.registryToken}`
    }
    const challenge = this.#challenges.get(access.base.origin)
    if (challenge === undefined) return undefined
    const scope = access.push ? ownScope(access) : knownScope(challenge, access)
    return await this.#answer(challenge, scope, access, undefined)
  }

  /**
   * The authorization for a 401, or undefined when there is none to give.
   *
   * @param header `WWW-Authenticate`
   * @param rejected the authorization that was sent in vain: a token like it is not used again
   */
  async answer(
    header: string | undefined,
    rejected: string | undefined,
    access: Access,
  ): Promise<string | undefined> {
    const challenges = parseChallenges(header ?? '')
    const challenge =
      challenges.find(({ scheme, params }) => scheme === 'bearer' && params.has('realm')) ??
      challenges.find(({ scheme }) => scheme === 'basic')
    if (challenge === undefined) return undefined
    this.#challenges.set(access.base.origin, challenge)
    if (rejected !== undefined) this.#credentials.delete(credentialKey(access))
    const scope = access.push ? ownScope(access) : (challengeScope(challenge) ?? ownScope(access))
    const authorization = await this.#answer(challenge, scope, access, rejected)
    return authorization === rejected ? undefined : authorization
  }

  async #answer(
    challenge: Challenge,
    scope: string,
    access: Access,
    rejected: string | undefined,
  ): Promise<string | undefined> {
    const auth = await this.#authFor(access)
    if (auth !== undefined && 'registryToken' in auth) return `Bearer ${auth.registryToken}`
    if (challenge.scheme === 'basic') {
      // Somebody may log in while this program runs.
      if (auth === undefined) this.#credentials.delete(credentialKey(access))
      return auth !== undefined && 'username' in auth ? basicAuthorization(auth) : undefined
    }
    const realm = realmOf(challenge, access)
    const service = challenge.params.get('service')
    const user = createHash('sha256')
      .update(JSON.stringify(auth ?? null))
      .digest('hex')
    const account = [access.base.origin, realm.href, service, user].join(' ')
    const token = this.#tokens.get(
      `${account} ${scope}`,
      rejected?.replace(/^Bearer /, ''),
      async () => {
        const refreshToken = this.#refreshTokenFor(account, auth)
        const login = auth !== undefined && 'username' in auth ? auth : undefined
        const wanted = { realm, service, scope, login, refreshToken }
        const fetched = await fetchToken(this.#transport, wanted, this.#settings.stall)
        // A server may give each refresh token for one use only.
        if (refreshToken !== undefined && fetched.refreshToken !== undefined) {
          this.#refreshTokens.set(account, fetched.refreshToken)
        }
        return fetched
      },
    )
    const what = `asking for a token for ${access.endpoint.host}`
    return `Bearer ${await unlessAborted(token, access.signal, what)}`
  }

  #refreshTokenFor(account: string, auth: RegistryAuth | undefined): string | undefined {
    const given = auth !== undefined && 'identityToken' in auth ? auth.identityToken : undefined
    return given === undefined ? undefined : (this.#refreshTokens.get(account) ?? given)
  }

  async #authFor(access: Access): Promise<RegistryAuth | undefined> {
    const { registry } = access.endpoint
    const given = access.auth ?? this.#settings.registries[registry]?.auth
    if (given !== undefined) return given
    const key = credentialKey(access)
    let found = this.#credentials.get(key)
    if (found === undefined) {
      found = findCredentials(registry, access.repository, this.#settings.sources)
      this.#credentials.set(key, found)
      found.catch(() => this.#credentials.delete(key))
    }
    return await unlessAborted(found, access.signal, `looking for credentials of ${registry}`)
  }
}

function credentialKey(access: Access): string {
  return `${access.endpoint.registry}/${access.repository}`
}

function ownScope(access: Access): string {
  const own = `repository:${access.repository}:${access.push ? 'pull,push' : 'pull'}`
  return [own, ...access.alsoPull.map((name) => `repository:${name}:pull`)].join(' ')
}

/** What the registry asks for, never more than to pull. */
function challengeScope(challenge: Challenge): string | undefined {
  const scope = challenge.params.get('scope')?.trim()
  if (scope === undefined || scope === '') return undefined
  return scope.replace(/(^| )(repository:[^ ]+):[^: ]*/g, '$1$2:pull')
}

/** A remembered challenge may have named another repository; words that name none hold for all. */
function knownScope(challenge: Challenge, access: Access): string {
  const scope = challengeScope(challenge)
  return scope === undefined || scope.includes('repository:') ? ownScope(access) : scope
}

function realmOf(challenge: Challenge, access: Access): URL {
  const text = challenge.params.get('realm') ?? ''
  const realm = URL.canParse(text) ? new URL(text) : undefined
  const host = access.base.host
  if (realm === undefined || !/^https?:$/.test(realm.protocol) || realm.username !== '') {
    throw protocolFailure(host, `names an unusable token server: ${printable(text)}`)
  }
  if (isDowngrade(access.base, realm)) {
    throw protocolFailure(host, `sends us from https to a token server on http: ${realm.host}`)
  }
  return realm
}
