import { rm } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { formatAddress } from '../../../src/network/addresses/address.ts'
import { parsePrefix } from '../../../src/network/addresses/address.ts'
import { claimAddress, claimedAddresses } from '../../../src/network/addresses/ipam.ts'
import { temporaryDirectory } from '../../support/temp.ts'
import { address, subnets } from '../records.ts'

const [small] = subnets('10.0.0.0/29')
if (small === undefined) throw new Error('no subnet')

describe('addresses', () => {
  test('are given out one after the other, but for the gateway and the ends, until none is left', async () => {
    await using temp = await temporaryDirectory()
    await using owner = await temporaryDirectory()
    const container = (id: string) => ({ id, owner: owner.path })
    const claim = async (id: string) =>
      formatAddress((await claimAddress(temp.path, small, container(id))).address)
    const all = ['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6']
    for (const expected of all) expect(await claim('a')).toBe(expected)
    await expect(claim('b')).rejects.toMatchObject({ code: 'KEELSON_NO_ADDRESS' })
    await rm(temp.join('10.0.0.3'))
    expect(await claim('b')).toBe('10.0.0.3')
    expect(await claimedAddresses(temp.path)).toContainEqual({
      address: address('10.0.0.3'),
      container: 'b',
      owner: owner.path,
      file: temp.join('10.0.0.3'),
    })
  })

  test('that were used last are tried last', async () => {
    await using temp = await temporaryDirectory()
    await using owner = await temporaryDirectory()
    const container = (id: string) => ({ id, owner: owner.path })
    const [first, second] = [
      await claimAddress(temp.path, small, container('a')),
      await claimAddress(temp.path, small, container('b')),
    ]
    await rm(first.file)
    const third = await claimAddress(temp.path, small, container('c'))
    expect(formatAddress(third.address)).toBe('10.0.0.4')
    expect(formatAddress(second.address)).toBe('10.0.0.3')
  })

  test('have one owner, however many want them at once', async () => {
    await using temp = await temporaryDirectory()
    await using owner = await temporaryDirectory()
    const container = (id: string) => ({ id, owner: owner.path })
    const claims = await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map((id) => claimAddress(temp.path, small, container(id))),
    )
    expect(new Set(claims.map(({ file }) => file)).size).toBe(5)
    const wanted = address('10.0.0.4')
    await expect(claimAddress(temp.path, small, container('f'), wanted)).rejects.toMatchObject({
      code: 'KEELSON_ADDRESS_IN_USE',
      address: '10.0.0.4',
    })
  })

  test('may be asked for outside of the range, but not outside of the subnet', async () => {
    await using temp = await temporaryDirectory()
    await using owner = await temporaryDirectory()
    const container = (id: string) => ({ id, owner: owner.path })
    const subnet = { ...small, range: parsePrefix('10.0.0.4/30', 'subnets.range') }
    const { address: found } = await claimAddress(temp.path, subnet, container('a'))
    expect(formatAddress(found)).toBe('10.0.0.5')
    await claimAddress(temp.path, subnet, container('a'), address('10.0.0.2'))
    for (const wrong of ['10.0.0.0', '10.0.0.1', '10.0.0.7', '10.0.1.2', 'fd00::2']) {
      await expect(
        claimAddress(temp.path, subnet, container('a'), address(wrong)),
      ).rejects.toMatchObject({ code: 'KEELSON_INVALID_OPTION' })
    }
  })
})
