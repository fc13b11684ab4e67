/** Which subnets a network gets that was given none. Pure. */
import { createHash } from 'node:crypto'
import { keelsonError } from '../../errors.ts'
import { nth, overlaps, parsePrefix, prefixOf, sizeOf, type Prefix } from './address.ts'

/** Private addresses (RFC 1918) that neither Docker's default pools nor home routers use, in order of preference. */
const POOLS = ['10.89.0.0/16', '10.90.0.0/15', '10.92.0.0/14', '172.30.0.0/15'].map((text) =>
  parsePrefix(text, 'subnets'),
)
const LENGTH = 24

/**
 * A /24 that overlaps nothing of `taken`: the host's routes and the other networks.
 *
 * @throws `KEELSON_NO_SUBNET`
 */
export function chooseSubnet(taken: readonly Prefix[]): Prefix {
  for (const pool of POOLS) {
    const within = taken.filter((prefix) => overlaps(prefix, pool))
    const wider = within.filter(({ length }) => length < LENGTH)
    // By number: there may be hundreds, and each candidate is one of them at most.
    const others = new Set(within.map((prefix) => prefixOf(prefix, LENGTH).value))
    const step = 1n << BigInt(32 - LENGTH)
    for (let at = 0n; at < sizeOf(pool); at += step) {
      const candidate = { ...nth(pool, at), length: LENGTH }
      if (others.has(candidate.value)) continue
      if (!wider.some((prefix) => overlaps(prefix, candidate))) return candidate
    }
  }
  throw keelsonError('KEELSON_NO_SUBNET', 'No subnet is left that does not overlap one in use.', {
    hint: 'Remove networks that are not needed, or give `subnets`.',
  })
}

/** A unique local /64 (RFC 4193) that the network's id decides, so that it is the same for whoever computes it. */
export function uniqueLocalSubnet(id: string): Prefix {
  const hash = createHash('sha256').update(`keelson network ${id}`).digest('hex')
  return {
    family: 6,
    value: (0xfdn << 120n) | (BigInt(`0x${hash.slice(0, 14)}`) << 64n),
    length: 64,
  }
}
