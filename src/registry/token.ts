import { protocolFailure, statusFailure } from './failure.ts'
import { readBody, readExplanation } from './body.ts'
import { sendFollowing } from './follow.ts'
import type { Request, Transport } from './transport.ts'

const MAX_TOKEN_BYTES = 1024 * 1024
/** Tokens live at least this long when the server does not say (distribution's token specification). */
const DEFAULT_LIFETIME = 60

/** Where and for what a token is asked. */
export interface TokenRequest {
  realm: URL
  service: string | undefined
  scope: string
  /** Sent as Basic; undefined: nobody in particular. */
  login: { username: string; password: string } | undefined
  /** Buys a token by OAuth2 in place of a login. */
  refreshToken: string | undefined
}

export interface Token {
  value: string
  /** Seconds. */
  lifetime: number
  /** A new refresh token in place of the one that was used. */
  refreshToken?: string
}

/** Fetches a token by GET, or, with a refresh token, by POST (RFC 6749, 6). */
export async function fetchToken(
  transport: Transport,
  wanted: TokenRequest,
  stall: number,
): Promise<Token> {
  const request =
    wanted.refreshToken === undefined
      ? getRequest(wanted)
      : postRequest(wanted, wanted.refreshToken)
  const answer = await sendFollowing(transport, request)
  const reading = { stall, total: stall * 4, signal: undefined }
  if (answer.status !== 200) {
    throw statusFailure(answer, await readExplanation(answer, reading), {
      kind: 'token',
      name: `a token (${wanted.scope})`,
    })
  }
  return decodeToken(await readBody(answer, MAX_TOKEN_BYTES, reading), answer.url.host)
}

function getRequest({ realm, service, scope, login }: TokenRequest): Request {
  const url = new URL(realm)
  if (service !== undefined) url.searchParams.set('service', service)
  // Each in a parameter of its own, as the token specification has it.
  for (const each of scope.split(' ')) url.searchParams.append('scope', each)
  if (login === undefined) return { url, headers: {} }
  url.searchParams.set('account', login.username)
  return { url, headers: { authorization: basicAuthorization(login) } }
}

function postRequest({ realm, service, scope }: TokenRequest, refreshToken: string): Request {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: refreshToken,
    client_id: 'keelson',
    scope,
  })
  if (service !== undefined) form.set('service', service)
  return {
    url: realm,
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: form.toString(),
  }
}

export function basicAuthorization(login: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}`
}

function decodeToken(bytes: Buffer, registry: string): Token {
  let parsed: unknown
  try {
    parsed = JSON.parse(bytes.toString('utf8'))
  } catch {
    parsed = undefined
  }
  const fields = new Map(
    typeof parsed === 'object' && parsed !== null ? Object.entries(parsed) : [],
  )
  const value: unknown = fields.get('token') ?? fields.get('access_token')
  // It goes into a header: nothing but what RFC 6750 lets a token have.
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw protocolFailure(registry, 'answers a request for a token without one')
  }
  const lifetime: unknown = fields.get('expires_in')
  const refreshToken: unknown = fields.get('refresh_token')
  return {
    value,
    lifetime: typeof lifetime === 'number' && lifetime > 0 ? lifetime : DEFAULT_LIFETIME,
    ...(typeof refreshToken === 'string' && refreshToken !== '' && { refreshToken }),
  }
}
