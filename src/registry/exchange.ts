import type { Access, Authorizer } from './auth.ts'
import { discard } from './body.ts'
import { sendFollowing } from './follow.ts'
import type { Endpoint } from './hosts.ts'
import type { RegistryAuth } from './options.ts'
import type { Schemes } from './scheme.ts'
import type { Answer, Request, Transport } from './transport.ts'

export interface Exchange {
  endpoint: Endpoint
  /** Without the endpoint's prefix: `library/alpine`. */
  repository: string
  /** `manifests/3.22` */
  resource: string
  /** In place of the resource: where the registry said to go on. Authorization goes along only to the registry itself. */
  url?: URL
  method?: Request['method']
  /** A stream is sent once: when the registry wants to know who we are, it has to be asked before. */
  body?: Request['body']
  headers: Record<string, string>
  /** Default: only to read. */
  push?: boolean
  /** Repositories that are read, too: as they are named in tokens. */
  alsoPull?: readonly string[]
  auth: RegistryAuth | undefined
  signal: AbortSignal | undefined
}

/** One question to an endpoint, with authorization when it wants some, and through redirects. Any status is an answer. */
export class Exchanger {
  readonly #transport: Transport
  readonly #authorizer: Authorizer
  readonly #schemes: Schemes

  constructor(transport: Transport, authorizer: Authorizer, schemes: Schemes) {
    this.#transport = transport
    this.#authorizer = authorizer
    this.#schemes = schemes
  }

  async ask(exchange: Exchange): Promise<Answer> {
    const { endpoint, signal } = exchange
    const base = await this.#schemes.baseOf(endpoint, signal)
    const repository = endpoint.prefix + exchange.repository
    const url = exchange.url ?? new URL(`/v2/${repository}/${exchange.resource}`, base)
    const { push = false, alsoPull = [], auth, method, body } = exchange
    const access: Access = { endpoint, base, repository, push, alsoPull, auth, signal }
    const send = (authorization: string | undefined) =>
      sendFollowing(this.#transport, {
        url,
        ...(method !== undefined && { method }),
        ...(body !== undefined && { body }),
        headers: { ...exchange.headers, ...(authorization !== undefined && { authorization }) },
        signal,
      })
    if (url.origin !== base.origin) return await send(undefined)
    const known = await this.#authorizer.known(access)
    const answer = await send(known)
    // Only the registry itself may ask for its credentials, never a host that it redirects to.
    if (answer.status !== 401 || answer.url.origin !== base.origin) return answer
    const header = answer.headers['www-authenticate']
    const authorization = await this.#authorizer.answer(header, known, access)
    if (authorization === undefined) return answer
    await discard(answer, signal)
    if (isStream(body)) return answer
    return await send(authorization)
  }
}

function isStream(body: Request['body']): boolean {
  return typeof body === 'object' && !(body instanceof Uint8Array)
}
