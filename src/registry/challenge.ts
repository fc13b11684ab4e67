/** What a server wants to see before it answers (RFC 9110, 11.6.1). */
export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  scheme: string
  /** Names in lower case. */
  params: ReadonlyMap<string, string>
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))/y
const QUOTED = /"((?:[^"\\]|\\.)*)"/sy
const SPACE = /[ \t]*/y

/**
 * Reads a `WWW-Authenticate` header, which may hold several challenges and, in quotes, commas of its own. What cannot be understood
 * ends the reading; the challenges before it stand.
 */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = []
  const reader = new Reader(header)
  for (;;) {
    while (reader.take(SPACE) !== undefined && reader.skip(',')) continue
    const scheme = reader.take(TOKEN)
    if (scheme === undefined) return challenges
    reader.take(SPACE)
    challenges.push({ scheme: scheme.toLowerCase(), params: readParams(reader) })
  }
}

/** Goes on until a word that no `=` follows: the next scheme. */
function readParams(reader: Reader): Map<string, string> {
  const params = new Map<string, string>()
  // Some schemes, such as Negotiate, have a bare credential in place of parameters.
  if (reader.take(TOKEN68) !== undefined) return params
  for (;;) {
    const start = reader.position
    while (reader.take(SPACE) !== undefined && reader.skip(',')) continue
    const name = reader.take(TOKEN)
    reader.take(SPACE)
    if (name === undefined || !reader.skip('=')) {
      reader.position = start
      return params
    }
    reader.take(SPACE)
    const value = reader.takeQuoted() ?? reader.take(TOKEN)
    if (value === undefined) return params
    const key = name.toLowerCase()
    if (!params.has(key)) params.set(key, value)
  }
}

class Reader {
  position = 0
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.position
    const match = pattern.exec(this.#text)
    if (match === null) return undefined
    this.position = pattern.lastIndex
    return match[0]
  }

  takeQuoted(): string | undefined {
    const quoted = this.take(QUOTED)
    return quoted?.slice(1, -1).replace(/\\(.)/gs, '$1')
  }

  skip(character: string): boolean {
    if (this.#text[this.position] !== character) return false
    this.position++
    return true
  }
}
