import { assert, bigInt, oneof, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  contains,
  formatAddress,
  formatPrefix,
  nth,
  overlaps,
  parseAddress,
  parsePrefix,
  prefixOf,
  sizeOf,
  type Address,
} from '../../../src/network/addresses/address.ts'

const prefix = (text: string) => parsePrefix(text, 'subnets')

describe('addresses', () => {
  it.each([
    ['10.89.0.1', '10.89.0.1'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['FD00:0:0:1:0:0:0:1', 'fd00:0:0:1::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8::', '2001:db8::'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ])('%s is %s', (text, canonical) => {
    const parsed = parseAddress(text)
    expect(parsed && formatAddress(parsed)).toBe(canonical)
  })

  it.each(['', '10.0.0', '10.0.0.256', '010.0.0.1', '::1::', 'fe80::1%eth0', 'host'])(
    '%j is none',
    (text) => expect(parseAddress(text)).toBeUndefined(),
  )

  it('are the same after writing and reading', () => {
    const address = oneof(
      bigInt(0n, 2n ** 32n - 1n).map((value): Address => ({ family: 4, value })),
      bigInt(0n, 2n ** 128n - 1n).map((value): Address => ({ family: 6, value })),
    )
    assert(
      property(address, (each) => {
        expect(parseAddress(formatAddress(each))).toEqual(each)
      }),
    )
  })
})

describe('prefixes', () => {
  it('hold their addresses and no others', () => {
    const net = prefix('10.1.2.0/23')
    expect(sizeOf(net)).toBe(512n)
    expect(contains(net, nth(net, 511n))).toBe(true)
    expect(contains(net, nth(net, 512n))).toBe(false)
    expect(contains(net, { family: 6, value: net.value })).toBe(false)
    expect(formatPrefix(prefixOf(nth(net, 300n), 24))).toBe('10.1.3.0/24')
  })

  it('overlap when one holds the other', () => {
    expect(overlaps(prefix('10.0.0.0/8'), prefix('10.1.0.0/16'))).toBe(true)
    expect(overlaps(prefix('10.1.0.0/16'), prefix('10.0.0.0/8'))).toBe(true)
    expect(overlaps(prefix('10.1.0.0/16'), prefix('10.2.0.0/16'))).toBe(false)
    expect(overlaps(prefix('0.0.0.0/0'), prefix('fd00::/8'))).toBe(false)
  })

  it.each([
    ['10.0.0.0', /holds no prefix/],
    ['10.0.0.0/33', /holds no prefix/],
    ['10.0.0.0/8/8', /holds no prefix/],
    ['10.0.0.1/24', /bits behind its length/],
    ['fd00::1/64', /bits behind its length/],
  ])('%s is refused', (text, complaint) => {
    expect(() => prefix(text)).toThrow(complaint)
  })
})
