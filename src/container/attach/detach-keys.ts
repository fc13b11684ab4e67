import { keelsonError } from '../../errors.ts'

/** Docker's. */
export const DEFAULT_DETACH_KEYS = 'ctrl-p,ctrl-q'

/**
 * Reads a sequence of keys as Docker writes it: `ctrl-p,ctrl-q`, `ctrl-@`, `a,b`.
 *
 * @throws `KEELSON_INVALID_OPTION`
 */
export function parseDetachKeys(text: string): Buffer {
  const keys = text.split(',').map((key) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1]
    // Control characters are the letters without their upper three bits.
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f
    if (key.length === 1 && key.charCodeAt(0) < 0x80) return key.charCodeAt(0)
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      `detachKeys has ${JSON.stringify(key)}, which is not a key.`,
      {
        option: 'detachKeys',
        hint: 'Write characters or ctrl-<a-z, @, [, \\, ], ^, _>, separated by commas.',
      },
    )
  })
  return Buffer.from(keys)
}

/** Looks for the keys in what is typed, and holds back what may be their beginning. */
export class DetachScanner {
  readonly #keys: Buffer
  #matched = 0

  constructor(keys: Buffer) {
    this.#keys = keys
  }

  /** What is to be passed on of `chunk` and of what was held back; `detached`: the keys were typed, and the rest is nobody's. */
  push(chunk: Uint8Array): { pass: Buffer; detached: boolean } {
    const pass: number[] = []
    for (const byte of chunk) {
      while (this.#matched > 0 && byte !== this.#keys[this.#matched]) {
        const kept = this.#border()
        pass.push(...this.#keys.subarray(0, this.#matched - kept))
        this.#matched = kept
      }
      if (byte !== this.#keys[this.#matched]) pass.push(byte)
      else if (++this.#matched === this.#keys.length) {
        this.#matched = 0
        return { pass: Buffer.from(pass), detached: true }
      }
    }
    return { pass: Buffer.from(pass), detached: false }
  }

  /** What is still held back, when nothing more is typed. */
  end(): Buffer {
    const held = this.#keys.subarray(0, this.#matched)
    this.#matched = 0
    return held
  }

  /** How much of the end of what was matched is a beginning of the keys too. */
  #border(): number {
    for (let length = this.#matched - 1; length > 0; length--) {
      const end = this.#keys.subarray(this.#matched - length, this.#matched)
      if (end.equals(this.#keys.subarray(0, length))) return length
    }
    return 0
  }
}
