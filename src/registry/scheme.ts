import { unlessAborted } from '../util/abort.ts'
import { discard } from './body.ts'
import { isConnectionError } from './failure.ts'
import type { Endpoint, Scheme } from './hosts.ts'
import type { Transport } from './transport.ts'

/** Finds out, once a host, whether it speaks TLS, where plain HTTP is allowed too. */
export class Schemes {
  readonly #transport: Transport
  readonly #found = new Map<string, Promise<Scheme>>()

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** The base URL of an endpoint: `https://registry-1.docker.io`. */
  async baseOf(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<URL> {
    const [only, ...others] = endpoint.schemes
    if (only !== undefined && others.length === 0) return new URL(`${only}://${endpoint.host}`)
    let found = this.#found.get(endpoint.host)
    if (found === undefined) {
      found = this.#probe(endpoint)
      this.#found.set(endpoint.host, found)
      found.catch(() => this.#found.delete(endpoint.host))
    }
    const scheme = await unlessAborted(found, signal, `the request to ${endpoint.host}`)
    return new URL(`${scheme}://${endpoint.host}`)
  }

  /** Any answer will do, whatever it says. The first scheme that brings one is the host's. */
  async #probe(endpoint: Endpoint): Promise<Scheme> {
    let failure: unknown
    for (const scheme of endpoint.schemes) {
      try {
        const url = new URL(`${scheme}://${endpoint.host}/v2/`)
        const answer = await this.#transport.send({ url, headers: {} })
        await discard(answer, undefined)
        return scheme
      } catch (error) {
        if (!isConnectionError(error)) throw error
        failure = error
      }
    }
    throw failure
  }
}
