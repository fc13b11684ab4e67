import { describe, expect, test } from 'vitest'
import { normalizeLink, type LinkOptions } from '../../../src/network/faults/options.ts'

const NONE = { direction: 'both', latency: 0, jitter: 0, loss: 0, reset: false }

describe('faults of a link', () => {
  test('are numbers, or text as a person writes it', () => {
    expect(normalizeLink({})).toEqual(NONE)
    expect(
      normalizeLink({
        latency: '50ms',
        jitter: 5,
        loss: '2.5%',
        bandwidth: '1.5mbit',
        reset: true,
      }),
    ).toEqual({ ...NONE, latency: 50, jitter: 5, loss: 0.025, rate: 1_500_000, reset: true })
    expect(normalizeLink({ loss: 1, bandwidth: 64_000, direction: 'backward' })).toEqual({
      ...NONE,
      direction: 'backward',
      loss: 1,
      rate: 64_000,
    })
  })

  test.each([
    ['latency', { latency: -1 }],
    ['latency', { latency: '2h' }],
    ['latency', { latency: 'soon' }],
    ['latency', { latency: Number.NaN }],
    ['jitter', { latency: 10, jitter: 11 }],
    ['loss', { loss: 1.1 }],
    ['loss', { loss: -0.1 }],
    ['loss', { loss: '150%' }],
    ['loss', { loss: 'half' }],
    ['bandwidth', { bandwidth: 0 }],
    ['bandwidth', { bandwidth: '1mbps' }],
    ['bandwidth', { bandwidth: Number.POSITIVE_INFINITY }],
    ['direction', { direction: 'up' }],
    ['reset', { reset: 1 }],
    ['latencyy', { latencyy: 10 }],
  ])('are refused by the name of their option: %s %j', (option, options) => {
    expect(() => normalizeLink(options as LinkOptions)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option }),
    )
  })
})
