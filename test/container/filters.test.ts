import { describe, expect, it } from 'vitest'
import {
  checkFilters,
  matchesFilters,
  type ContainerFilters,
  type Filtered,
} from '../../src/container/filters.ts'
import { parseDigest } from '../../src/oci/digest.ts'

const digest = (letter: string) => parseDigest(`sha256:${letter.repeat(64)}`)
const container: Filtered = {
  id: 'abc1'.repeat(16),
  name: 'web-1',
  labels: { tier: 'web', empty: '' },
  status: 'running',
  image: { reference: 'alpine:3.22', id: digest('1'), digest: digest('2') },
}

describe('filters', () => {
  it.each<[ContainerFilters, boolean]>([
    [{}, true],
    [{ label: 'tier' }, true],
    [{ label: 'tier=web' }, true],
    [{ label: 'tier=db' }, false],
    [{ label: ['tier=web', 'other'] }, false],
    [{ label: { tier: 'web', empty: true } }, true],
    [{ label: { tier: 'db' } }, false],
    [{ label: 'empty=' }, true],
    [{ label: 'toString' }, false],
    [{ name: 'web' }, true],
    [{ name: '/web-1' }, true],
    [{ name: /^web-\d$/g }, true],
    [{ name: ['db', /x/] }, false],
    [{ status: 'running' }, true],
    [{ status: ['exited', 'paused'] }, false],
    [{ id: 'abc1abc1' }, true],
    [{ id: ['bc1', 'abc'] }, true],
    [{ id: 'bc1' }, false],
    [{ ancestor: 'alpine:3.22' }, true],
    [{ ancestor: 'docker.io/library/alpine:3.22' }, true],
    [{ ancestor: 'alpine' }, false],
    [{ ancestor: digest('1') }, true],
    [{ ancestor: '2'.repeat(12) }, true],
    [{ ancestor: ['busybox', 'alpine:3.22'] }, true],
    [{ name: 'web', status: 'exited' }, false],
  ])('%j: %s', (filters, expected) => {
    expect(matchesFilters(container, filters)).toBe(expected)
    expect(matchesFilters(container, filters)).toBe(expected)
  })

  it.each([{ nmae: 'x' }, { status: 'up' }, { status: ['running', 'halted'] }])(
    'refuse %j',
    (filters) => {
      expect(() => checkFilters(filters as ContainerFilters)).toThrow(
        expect.objectContaining({ code: 'KEELSON_INVALID_OPTION' }),
      )
    },
  )
})
