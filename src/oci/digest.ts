import { createHash, type Hash } from 'node:crypto'
import { keelsonError } from '../errors.ts'
import { printable } from '../util/printable.ts'

/** Names content by its hash: `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits. */
export type Digest = `sha256:${string}` | `sha512:${string}`

const HEX_LENGTH = { sha256: 64, sha512: 128 } as const

/** The algorithms that the OCI image specification requires or recommends. */
export type DigestAlgorithm = keyof typeof HEX_LENGTH

/**
 * Checks a digest as the OCI image specification writes it ("Digests" in `descriptor.md`).
 *
 * @throws `KEELSON_INVALID_DIGEST` when the text is not one, or names an algorithm other than sha256 and sha512.
 */
export function parseDigest(text: string): Digest {
  const colon = text.indexOf(':')
  const algorithm = text.slice(0, Math.max(colon, 0))
  const encoded = text.slice(colon + 1)
  if (algorithm !== 'sha256' && algorithm !== 'sha512') {
    throw keelsonError(
      'KEELSON_INVALID_DIGEST',
      `"${printable(text, 160)}" is not a digest that is known here.`,
      {
        hint: 'A digest is "sha256:" and 64, or "sha512:" and 128, lower-case hexadecimal digits.',
      },
    )
  }
  const length = HEX_LENGTH[algorithm]
  if (encoded.length !== length || !/^[0-9a-f]+$/.test(encoded)) {
    throw keelsonError(
      'KEELSON_INVALID_DIGEST',
      `A ${algorithm} digest has ${length} lower-case hexadecimal digits, not "${printable(encoded, 140)}".`,
    )
  }
  return `${algorithm}:${encoded}`
}

/** `sha256` or `sha512`. */
export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256'
}

/** The hexadecimal digits after the algorithm. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/** The digest of these bytes. */
export function digestOf(
  bytes: Uint8Array | string,
  algorithm: DigestAlgorithm = 'sha256',
): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** Hashes a stream with the algorithm of the digest that it must have. Compare with {@link finishDigest}. */
export function startDigest(expected: Digest): Hash {
  return createHash(digestAlgorithm(expected))
}

/** The digest of all that `hash` was fed. */
export function finishDigest(hash: Hash, expected: Digest): Digest {
  return `${digestAlgorithm(expected)}:${hash.digest('hex')}`
}
