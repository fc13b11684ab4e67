import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { json, type Answer } from './answer.ts'
import { ApiError } from './api-error.ts'
import { TOKEN_PATH, type Route } from './route.ts'

/** A user of the registry. */
export interface Credentials {
  username: string
  password: string
}

/** The registry's own token service, as in the distribution project's "Token Authentication". */
export interface TokenOptions {
  /** Seconds that a token is good for. Default 300. */
  expiresIn?: number
  /** What a client without credentials is granted where there is a user. Default: nothing. */
  anonymous?: 'pull' | 'none'
  /** Name of this service in the challenge. Default `keelson`. */
  service?: string
}

/** One scope of a token: a repository (or the registry) and what may be done with it. */
export interface Scope {
  type: string
  name: string
  actions: string[]
}

interface Token {
  scopes: Scope[]
  expires: number
}

/** Decides whether a request may go on, and issues tokens. */
export class Authorization {
  readonly #user: Credentials | undefined
  readonly #options: TokenOptions | undefined
  readonly #tokens = new Map<string, Token>()
  readonly #refreshTokens = new Set<string>()

  constructor(user: Credentials | undefined, options: TokenOptions | undefined) {
    this.#user = user
    this.#options = options
  }

  /**
   * @param origin `http://host:port` as the client knows it
   * @throws an {@link ApiError} 401 with the challenge
   */
  check(request: IncomingMessage, route: Route, origin: string): void {
    const required = requiredScope(route, request.method ?? 'GET')
    if (this.#options !== undefined) {
      const granted = this.#token(request)
      if (granted !== undefined && (required === undefined || covers(granted.scopes, required))) {
        return
      }
      throw unauthorized(this.#challenge(origin, required, granted !== undefined))
    }
    if (this.#user !== undefined && !this.#isUser(basicCredentials(request))) {
      throw unauthorized('Basic realm="keelson"')
    }
  }

  /** True when the request's token (if tokens are in use) lets it read this other repository: for a mount across repositories. */
  mayPull(request: IncomingMessage, repository: string): boolean {
    if (this.#options === undefined) return true
    const scope = { type: 'repository', name: repository, actions: ['pull'] }
    return covers(this.#token(request)?.scopes ?? [], scope)
  }

  /** Every token given out so far stops being good. */
  revoke(): void {
    this.#tokens.clear()
  }

  /**
   * The token endpoint: GET with Basic credentials, POST as OAuth 2 with a password or a refresh token.
   *
   * @param parameters of the query (GET) or the form (POST)
   */
  issue(request: IncomingMessage, parameters: URLSearchParams): Answer {
    const options = this.#options
    if (options === undefined) throw new ApiError(404, 'UNSUPPORTED', 'no token service here')
    if (request.method !== 'GET' && request.method !== 'POST') {
      throw new ApiError(405, 'UNSUPPORTED', 'tokens are had by GET or POST')
    }
    const oauth = request.method === 'POST'
    const known = oauth ? this.#isGrant(parameters) : this.#isUser(basicCredentials(request))
    const offered = oauth || request.headers.authorization !== undefined
    if (this.#user !== undefined && !known && (offered || options.anonymous !== 'pull')) {
      throw unauthorized(`Basic realm="keelson"`)
    }
    const trusted = known || this.#user === undefined
    const scopes = parameters
      .getAll('scope')
      .flatMap((text) => text.split(' '))
      .map(parseScope)
      .filter((scope) => scope !== undefined)
      .map((scope) => (trusted ? scope : onlyPull(scope)))
    const expiresIn = options.expiresIn ?? 300
    const token = randomBytes(24).toString('base64url')
    this.#tokens.set(token, { scopes, expires: Date.now() + expiresIn * 1000 })
    const document = { expires_in: expiresIn, issued_at: new Date().toISOString() }
    const offline = oauth
      ? parameters.get('access_type') === 'offline'
      : parameters.get('offline_token') === 'true'
    const refresh = trusted && offline ? { refresh_token: this.#refreshToken() } : {}
    return oauth
      ? json(200, {
          access_token: token,
          scope: scopes.map(formatScope).join(' '),
          ...document,
          ...refresh,
        })
      : json(200, { token, access_token: token, ...document, ...refresh })
  }

  #refreshToken(): string {
    const token = randomBytes(24).toString('base64url')
    this.#refreshTokens.add(token)
    return token
  }

  #isGrant(form: URLSearchParams): boolean {
    if (form.get('grant_type') === 'refresh_token') {
      return this.#refreshTokens.has(form.get('refresh_token') ?? '')
    }
    const [username, password] = [form.get('username') ?? '', form.get('password') ?? '']
    return form.get('grant_type') === 'password' && this.#isUser({ username, password })
  }

  #isUser(given: Credentials | undefined): boolean {
    const user = this.#user
    if (given === undefined || user === undefined) return false
    return equal(given.username, user.username) && equal(given.password, user.password)
  }

  #token(request: IncomingMessage): Token | undefined {
    const match = /^Bearer +(?<token>\S+)$/i.exec(request.headers.authorization ?? '')
    const token = this.#tokens.get(match?.groups?.['token'] ?? '')
    return token !== undefined && token.expires > Date.now() ? token : undefined
  }

  #challenge(origin: string, scope: Scope | undefined, insufficient: boolean): string {
    const parts = [
      `realm="${origin}${TOKEN_PATH}"`,
      `service="${this.#options?.service ?? 'keelson'}"`,
      ...(scope === undefined ? [] : [`scope="${formatScope(scope)}"`]),
      ...(insufficient ? ['error="insufficient_scope"'] : []),
    ]
    return `Bearer ${parts.join(',')}`
  }
}

/** `repository:library/busybox:pull,push` */
export function parseScope(text: string): Scope | undefined {
  const match = /^(?<type>[a-z]+)(?:\([a-z]+\))?:(?<name>.+):(?<actions>[a-z*,]+)$/.exec(text)
  if (match?.groups === undefined) return undefined
  const { type = '', name = '', actions = '' } = match.groups
  return { type, name, actions: actions.split(',') }
}

function formatScope({ type, name, actions }: Scope): string {
  return `${type}:${name}:${actions.join(',')}`
}

function requiredScope(route: Route, method: string): Scope | undefined {
  if (route.kind === 'catalog') return { type: 'registry', name: 'catalog', actions: ['*'] }
  if (!('repository' in route)) return undefined
  const reads = method === 'GET' || method === 'HEAD'
  // An upload's state is only its writer's business.
  const upload = route.kind === 'upload' || route.kind === 'uploads'
  const actions =
    method === 'DELETE' && !upload ? ['delete'] : reads && !upload ? ['pull'] : ['pull', 'push']
  return { type: 'repository', name: route.repository, actions }
}

function covers(granted: Scope[], required: Scope): boolean {
  const actions = new Set(
    granted
      .filter(({ type, name }) => type === required.type && name === required.name)
      .flatMap((scope) => scope.actions),
  )
  return required.actions.every((action) => actions.has(action) || actions.has('*'))
}

function onlyPull(scope: Scope): Scope {
  return { ...scope, actions: scope.actions.filter((action) => action === 'pull') }
}

function basicCredentials(request: IncomingMessage): Credentials | undefined {
  const match = /^Basic +(?<encoded>\S+)$/i.exec(request.headers.authorization ?? '')
  const text = Buffer.from(match?.groups?.['encoded'] ?? '', 'base64').toString()
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) }
}

function equal(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function unauthorized(challenge: string): ApiError {
  return new ApiError(401, 'UNAUTHORIZED', 'authentication required', null, {
    'www-authenticate': challenge,
  })
}
