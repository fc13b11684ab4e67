import type { Token } from './token.ts'

interface Entry {
  value: Promise<string>
  /** On the clock of `performance.now()`, which no change of the date moves; infinite while the token is fetched. */
  expires: number
}

/** Tokens until they expire; whoever wants one that is being fetched waits for the same. */
export class TokenCache {
  readonly #entries = new Map<string, Entry>()

  /** @param rejected a token that a registry did not take, although it should not have expired */
  async get(
    key: string,
    rejected: string | undefined,
    fetch: () => Promise<Token>,
  ): Promise<string> {
    const old = this.#entries.get(key)
    if (old !== undefined) {
      const useless = old.expires <= performance.now() || (await old.value) === rejected
      // Meanwhile another request may have renewed it.
      if (useless && this.#entries.get(key) === old) this.#entries.delete(key)
    }
    return await (this.#entries.get(key) ?? this.#start(key, fetch)).value
  }

  #start(key: string, fetch: () => Promise<Token>): Entry {
    const entry: Entry = { value: this.#fill(key, fetch), expires: Infinity }
    this.#entries.set(key, entry)
    return entry
  }

  async #fill(key: string, fetch: () => Promise<Token>): Promise<string> {
    try {
      const { value, lifetime } = await fetch()
      const entry = this.#entries.get(key)
      // Renewed a little early, for the request is on its way for a while too.
      if (entry !== undefined) entry.expires = performance.now() + lifetime * 900
      return value
    } catch (error) {
      this.#entries.delete(key)
      throw error
    }
  }
}
