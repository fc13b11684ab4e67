import { keelsonError, type KeelsonError } from '../errors.ts'
import { printable } from '../util/printable.ts'

/** Deeper than any real document, and far from what recursion over it could not bear. */
const MAX_DEPTH = 64

/**
 * Reads bytes of an untrusted JSON document: bounded in size and depth, strict UTF-8.
 *
 * @param what names the document in messages: `manifest`, `image config`
 * @throws `KEELSON_MANIFEST_INVALID`
 */
export function parseDocument(bytes: Uint8Array, what: string, maxBytes: number): DocumentNode {
  const root = new DocumentNode(undefined, what, '')
  if (bytes.length > maxBytes) {
    throw root.invalid(`has ${bytes.length} bytes, more than the limit of ${maxBytes}`)
  }
  if (tooDeep(bytes)) throw root.invalid(`is nested more than ${MAX_DEPTH} levels deep`)
  try {
    // ignoreBOM keeps a byte order mark in the text, where JSON refuses it.
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return new DocumentNode(JSON.parse(text) as unknown, what, '')
  } catch (cause) {
    throw root.invalid('is not JSON', { cause })
  }
}

/** A value in a document that knows its own path, so that every complaint can name it. */
export class DocumentNode {
  readonly value: unknown
  readonly #what: string
  readonly #path: string

  constructor(value: unknown, what: string, path: string) {
    this.value = value
    this.#what = what
    this.#path = path
  }

  /** A field that must be there. */
  required(key: string): DocumentNode {
    const field = this.optional(key)
    if (field === undefined) throw this.#at(key, undefined).invalid('is missing')
    return field
  }

  /** A field that may be absent. Go writes absent slices and maps as `null`: the same. */
  optional(key: string): DocumentNode | undefined {
    const object = this.#object()
    const value = Object.hasOwn(object, key) ? object[key] : undefined
    return value === undefined || value === null ? undefined : this.#at(key, value)
  }

  has(key: string): boolean {
    return this.optional(key) !== undefined
  }

  /** Every field, in the document's order. */
  entries(limit: number): [key: string, value: DocumentNode][] {
    const entries = Object.entries(this.#object())
    if (entries.length > limit) throw this.invalid(`has more than ${limit} entries`)
    return entries.map(([key, value]) => [key, this.#at(key, value)])
  }

  elements(limit: number): DocumentNode[] {
    if (!Array.isArray(this.value)) throw this.#expected('a list')
    if (this.value.length > limit) throw this.invalid(`has more than ${limit} entries`)
    return this.value.map(
      (value: unknown, index) => new DocumentNode(value, this.#what, `${this.#path}[${index}]`),
    )
  }

  string(): string {
    if (typeof this.value !== 'string') throw this.#expected('a string')
    return this.value
  }

  /** A string that will reach a system call, where a NUL would end it early. */
  cString(): string {
    const text = this.string()
    if (text.includes('\0')) throw this.invalid('has a NUL character in it')
    return text
  }

  boolean(): boolean {
    if (typeof this.value !== 'boolean') throw this.#expected('true or false')
    return this.value
  }

  /** A whole number that JavaScript holds exactly. */
  integer(min = Number.MIN_SAFE_INTEGER): number {
    const { value } = this
    if (!Number.isSafeInteger(value) || typeof value !== 'number' || value < min) {
      throw this.#expected(min === 0 ? 'a whole number, not negative' : 'a whole number')
    }
    return value
  }

  /** A map of strings. Built from entries, so that a key `__proto__` stays a mere key. */
  strings(limit: number): Record<string, string> {
    return Object.fromEntries(this.entries(limit).map(([key, value]) => [key, value.string()]))
  }

  invalid(problem: string, facts: { hint?: string; cause?: unknown } = {}): KeelsonError {
    return this.#error('KEELSON_MANIFEST_INVALID', problem, facts)
  }

  unsupported(problem: string, facts: { hint?: string; cause?: unknown } = {}): KeelsonError {
    return this.#error('KEELSON_MANIFEST_UNSUPPORTED', problem, facts)
  }

  #error(
    code: 'KEELSON_MANIFEST_INVALID' | 'KEELSON_MANIFEST_UNSUPPORTED',
    problem: string,
    facts: { hint?: string; cause?: unknown },
  ): KeelsonError {
    const where = this.#path === '' ? '' : `'s ${printable(this.#path)}`
    return keelsonError(code, `The ${this.#what}${where} ${problem}.`, {
      ...facts,
      path: this.#path,
    })
  }

  #expected(kind: string): KeelsonError {
    const { value } = this
    const found = value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value
    const shown = typeof value === 'number' ? String(value) : found
    return this.invalid(`must be ${kind}, not ${shown}`)
  }

  #object(): Record<string, unknown> {
    if (!isObject(this.value)) throw this.#expected('an object')
    return this.value
  }

  #at(key: string, value: unknown): DocumentNode {
    return new DocumentNode(value, this.#what, this.#path === '' ? key : `${this.#path}.${key}`)
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Counts brackets outside strings; runs before the parser does. */
function tooDeep(bytes: Uint8Array): boolean {
  let depth = 0
  let inString = false
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index]
    if (inString) {
      if (byte === 0x5c /* \ */) index++
      else if (byte === 0x22 /* " */) inString = false
    } else if (byte === 0x22) inString = true
    else if (byte === 0x7b /* { */ || byte === 0x5b /* [ */) {
      depth++
      if (depth > MAX_DEPTH) return true
    } else if (byte === 0x7d /* } */ || byte === 0x5d /* ] */) depth--
  }
  return false
}
