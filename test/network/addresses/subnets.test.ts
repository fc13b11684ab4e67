import { describe, expect, it } from 'vitest'
import {
  formatPrefix,
  overlaps,
  parsePrefix,
  type Prefix,
} from '../../../src/network/addresses/address.ts'
import { chooseSubnet, uniqueLocalSubnet } from '../../../src/network/addresses/subnets.ts'

const prefixes = (...texts: string[]) => texts.map((text) => parsePrefix(text, 'subnets'))

describe('a subnet is chosen', () => {
  it('that nothing overlaps', () => {
    expect(formatPrefix(chooseSubnet([]))).toBe('10.89.0.0/24')
    expect(formatPrefix(chooseSubnet(prefixes('10.89.0.0/24', '10.89.1.128/25')))).toBe(
      '10.89.2.0/24',
    )
    expect(formatPrefix(chooseSubnet(prefixes('10.0.0.0/8')))).toBe('172.30.0.0/24')
  })

  it('many times over, each apart from all others', () => {
    const taken: Prefix[] = []
    for (let n = 0; n < 200; n++) {
      const next = chooseSubnet(taken)
      expect(taken.some((each) => overlaps(each, next))).toBe(false)
      taken.push(next)
    }
  })

  it('or the lack of one is told', () => {
    expect(() => chooseSubnet(prefixes('10.0.0.0/8', '172.16.0.0/12'))).toThrow(
      expect.objectContaining({ code: 'KEELSON_NO_SUBNET' }),
    )
  })

  it('for IPv6 by the network alone', () => {
    const subnet = uniqueLocalSubnet('a')
    expect(formatPrefix(subnet)).toMatch(/^fd[0-9a-f]{2}:.*\/64$/)
    expect(uniqueLocalSubnet('a')).toEqual(subnet)
    expect(uniqueLocalSubnet('b')).not.toEqual(subnet)
    expect(parsePrefix(formatPrefix(subnet), 'subnets')).toEqual(subnet)
  })
})
