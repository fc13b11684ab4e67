/**
 * Messages of D-Bus (dbus-specification, "Message Protocol"), little-endian, with the few types that asking systemd
 * for a scope needs. Pure.
 */

/** A value with its signature, where the type is part of the message (`v`). */
export interface Variant {
  signature: string
  value: Value
}
export type Value = string | number | boolean | Variant | Value[]

export const METHOD_CALL = 1
export const METHOD_RETURN = 2
export const ERROR = 3
export const SIGNAL = 4

export interface Message {
  type: number
  serial: number
  path?: string
  interface?: string
  member?: string
  errorName?: string
  replySerial?: number
  destination?: string
  signature?: string
  /** When read: empty unless all values are of simple types. */
  body: Value[]
}

/** Codes of the header's fields and their types. */
const FIELDS = [
  ['path', 1, 'o'],
  ['interface', 2, 's'],
  ['member', 3, 's'],
  ['errorName', 4, 's'],
  ['replySerial', 5, 'u'],
  ['destination', 6, 's'],
  ['signature', 8, 'g'],
] as const

/** The specification allows 128 MiB; nothing that systemd tells us comes near this. */
const MAX_LENGTH = 1024 * 1024
const LITTLE_ENDIAN = 'l'.charCodeAt(0)
const VERSION = 1

export function encodeMessage(message: Message): Buffer {
  const fields = FIELDS.flatMap(([name, code, signature]) => {
    const value = message[name]
    return value === undefined ? [] : [[code, { signature, value }]]
  })
  const body = new Writer()
  body.all(message.signature ?? '', message.body)
  const header = new Writer()
  header.all('yyyyuua(yv)', [
    LITTLE_ENDIAN,
    message.type,
    0,
    VERSION,
    body.length,
    message.serial,
    fields,
  ])
  header.align(8)
  return Buffer.concat([header.bytes(), body.bytes()])
}

/**
 * The first whole message of the bytes received so far, and how many they were; undefined while it is incomplete.
 *
 * @throws RangeError for what is no message of this protocol
 */
export function decodeMessage(bytes: Buffer): { message: Message; length: number } | undefined {
  if (bytes.length < 16) return undefined
  if (bytes[0] !== LITTLE_ENDIAN || bytes[3] !== VERSION)
    throw new RangeError('not a D-Bus message')
  const bodyLength = bytes.readUInt32LE(4)
  const headerLength = align(16 + bytes.readUInt32LE(12), 8)
  const length = headerLength + bodyLength
  if (length > MAX_LENGTH) throw new RangeError(`a D-Bus message of ${length} bytes`)
  if (bytes.length < length) return undefined
  const [, type, , , , serial, fields] = new Reader(bytes.subarray(0, headerLength)).all(
    'yyyyuua(yv)',
  )
  const message: Message = { type: Number(type), serial: Number(serial), body: [] }
  for (const [code, variant] of fields as [number, Variant][]) {
    const field = FIELDS.find((each) => each[1] === code)
    if (field) Object.assign(message, { [field[0]]: variant.value })
  }
  // Signals that nobody asked for come with types that are not read here.
  const { signature = '' } = message
  if (/^[ybusog]*$/.test(signature)) {
    message.body = new Reader(bytes.subarray(headerLength, length)).all(signature)
  }
  return { message, length }
}

class Writer {
  #chunks: Buffer[] = []
  length = 0

  all(signature: string, values: readonly Value[]): void {
    split(signature).forEach((type, at) => this.#one(type, values[at] ?? ''))
  }

  align(boundary: number): void {
    this.#add(Buffer.alloc(align(this.length, boundary) - this.length))
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  #one(type: string, value: Value): void {
    this.align(alignment(type))
    if (type === 'y') this.#add(Buffer.of(Number(value)))
    else if (type === 'u' || type === 'b') this.#number(Number(value))
    else if (type === 's' || type === 'o') this.#text(value, 4)
    else if (type === 'g') this.#text(value, 1)
    else if (type === 'v') this.#variant(value as Variant)
    else if (type.startsWith('(')) this.all(type.slice(1, -1), value as Value[])
    else if (type.startsWith('a')) this.#array(type.slice(1), value as Value[])
    else throw new RangeError(`D-Bus type ${type}`)
  }

  #variant({ signature, value }: Variant): void {
    this.#one('g', signature)
    this.#one(signature, value)
  }

  #array(type: string, values: readonly Value[]): void {
    const length = Buffer.alloc(4)
    this.#add(length)
    // The length leaves out what aligns the first element.
    this.align(alignment(type))
    const start = this.length
    for (const value of values) this.#one(type, value)
    length.writeUInt32LE(this.length - start)
  }

  #text(text: Value, lengthBytes: 1 | 4): void {
    if (typeof text !== 'string') throw new RangeError('a D-Bus string must be a string')
    const bytes = Buffer.from(`${text}\0`)
    const length = Buffer.alloc(lengthBytes)
    length.writeUIntLE(bytes.length - 1, 0, lengthBytes)
    this.#add(length)
    this.#add(bytes)
  }

  #number(value: number): void {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    this.#add(bytes)
  }

  #add(bytes: Buffer): void {
    this.#chunks.push(bytes)
    this.length += bytes.length
  }
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  all(signature: string): Value[] {
    return split(signature).map((type) => this.#one(type))
  }

  #one(type: string): Value {
    this.#at = align(this.#at, alignment(type))
    if (type === 'y') return this.#bytes.readUInt8(this.#skip(1))
    if (type === 'u') return this.#bytes.readUInt32LE(this.#skip(4))
    if (type === 'b') return this.#bytes.readUInt32LE(this.#skip(4)) !== 0
    if (type === 's' || type === 'o') return this.#text(4)
    if (type === 'g') return this.#text(1)
    if (type === 'v') {
      const signature = this.#text(1)
      return { signature, value: this.#one(signature) }
    }
    if (type.startsWith('(')) return this.all(type.slice(1, -1))
    if (type.startsWith('a')) return this.#array(type.slice(1))
    throw new RangeError(`D-Bus type ${type}`)
  }

  #array(type: string): Value[] {
    const length = this.#bytes.readUInt32LE(this.#skip(4))
    this.#at = align(this.#at, alignment(type))
    const end = this.#at + length
    if (end > this.#bytes.length) throw new RangeError('a D-Bus array runs over its message')
    const values: Value[] = []
    while (this.#at < end) values.push(this.#one(type))
    return values
  }

  #text(lengthBytes: 1 | 4): string {
    const length = this.#bytes.readUIntLE(this.#skip(lengthBytes), lengthBytes)
    const start = this.#skip(length + 1)
    return this.#bytes.toString('utf8', start, start + length)
  }

  #skip(length: number): number {
    const start = this.#at
    if (start + length > this.#bytes.length)
      throw new RangeError('a D-Bus value runs over its message')
    this.#at = start + length
    return start
  }
}

function align(position: number, boundary: number): number {
  return Math.ceil(position / boundary) * boundary
}

function alignment(type: string): number {
  if (type.startsWith('(')) return 8
  return 'ygv'.includes(type.charAt(0)) ? 1 : 4
}

/** `sa(sv)u` -> `s`, `a(sv)`, `u`. */
function split(signature: string): string[] {
  const types: string[] = []
  let start = 0
  let depth = 0
  for (let at = 0; at < signature.length; at++) {
    const sign = signature[at]
    if (sign === '(') depth++
    if (sign === ')') depth--
    if (depth > 0 || sign === 'a') continue
    types.push(signature.slice(start, at + 1))
    start = at + 1
  }
  if (start !== signature.length) throw new RangeError(`D-Bus signature ${signature}`)
  return types
}
