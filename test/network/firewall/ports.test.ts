import { describe, expect, it } from 'vitest'
import type { Address } from '../../../src/network/addresses/address.ts'
import { normalizePort, normalizePorts, planPorts } from '../../../src/network/firewall/ports.ts'
import { address } from '../records.ts'

const four = address('10.89.0.2')
const six = address('fd00::2')
const to4 = { address: '10.89.0.2', port: 80 }
const to6 = { address: 'fd00::2', port: 80 }
const plan = (spec: string, addresses: Address[], internal = false) =>
  planPorts(normalizePort(spec), addresses, internal)

describe('a published port', () => {
  it('is forwarded within a family, and passed on from ::1', () => {
    expect(plan('8080:80', [four, six])).toEqual({
      reserve: [
        { protocol: 'tcp', address: '0.0.0.0', port: 8080 },
        { protocol: 'tcp', address: '::', port: 8080, relay: to6 },
      ],
      elements: [
        { protocol: 'tcp', family: 4, hostPort: 8080, ...to4 },
        { protocol: 'tcp', family: 6, hostPort: 8080, ...to6 },
      ],
    })
  })

  it('is reached by the family that the container has not, where the host has it', () => {
    expect(plan('8080:80/udp', [four])).toEqual({
      reserve: [
        { protocol: 'udp', address: '0.0.0.0', port: 8080 },
        { protocol: 'udp', address: '::', port: 8080, relay: to4, optional: true },
      ],
      elements: [{ protocol: 'udp', family: 4, hostPort: 8080, ...to4 }],
    })
    expect(plan('8080:80', [six]).reserve).toEqual([
      { protocol: 'tcp', address: '0.0.0.0', port: 8080, relay: to6, optional: true },
      { protocol: 'tcp', address: '::', port: 8080, relay: to6 },
    ])
  })

  it('is at one address when that is given, of whichever family', () => {
    expect(plan('192.0.2.1:8080:80', [four, six])).toEqual({
      reserve: [{ protocol: 'tcp', address: '192.0.2.1', port: 8080 }],
      elements: [{ protocol: 'tcp', family: 4, host: '192.0.2.1', hostPort: 8080, ...to4 }],
    })
    expect(plan('[::1]:8080:80', [four])).toEqual({
      reserve: [{ protocol: 'tcp', address: '::1', port: 8080, relay: to4 }],
      elements: [],
    })
    expect(plan('[2001:db8::1]:8080:80', [four, six]).reserve).toEqual([
      { protocol: 'tcp', address: '2001:db8::1', port: 8080 },
    ])
  })

  it('of an internal network is passed on to this host alone', () => {
    expect(plan('8080:80', [four], true).reserve).toEqual([
      { protocol: 'tcp', address: '0.0.0.0', port: 8080 },
      { protocol: 'tcp', address: '::1', port: 8080, relay: to4, optional: true },
    ])
    expect(plan('[2001:db8::1]:8080:80', [four], true)).toEqual({ reserve: [], elements: [] })
  })

  it('of SCTP is forwarded or nothing', () => {
    expect(plan('8080:80/sctp', [four]).reserve).toEqual([
      { protocol: 'sctp', address: '0.0.0.0', port: 8080 },
    ])
    expect(() => plan('[::1]:8080:80/sctp', [four])).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'ports' }),
    )
  })
})

const published = (container: number, host: number, hostIp?: string, protocol = 'tcp') => {
  return { container, host, hostIp, protocol }
}

describe('a port', () => {
  it.each([
    [80, [published(80, 0)]],
    ['80', [published(80, 0)]],
    ['8080:80', [published(80, 8080)]],
    ['8080:80/udp', [published(80, 8080, undefined, 'udp')]],
    ['127.0.0.1:8080:80', [published(80, 8080, '127.0.0.1')]],
    ['127.0.0.1::80', [published(80, 0, '127.0.0.1')]],
    ['[::1]:8080:80', [published(80, 8080, '::1')]],
    ['8000-8001:80-81', [published(80, 8000), published(81, 8001)]],
    [{ container: [80, 81] }, [published(80, 0), published(81, 0)]],
    [{ container: 80, host: 0, protocol: 'sctp' }, [published(80, 0, undefined, 'sctp')]],
  ] as const)('%j is read', (spec, expected) => {
    expect(normalizePort(spec as Parameters<typeof normalizePort>[0])).toEqual(expected)
  })

  it.each([
    0,
    65536,
    1.5,
    '',
    'http',
    '80/icmp',
    '8080:80:1:2:3',
    '81-80',
    '8000-8002:80-81',
    'example.com:80:80',
    { container: 80, protocol: 'icmp' },
    { container: 80, hostIp: 'x' },
    { container: 80, host: 70000 },
    null,
  ])('%j is refused', (spec) => {
    expect(() => normalizePort(spec as never)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'ports' }),
    )
  })

  it('of the host is published once; free ones are as many as you like', () => {
    expect(
      normalizePorts(['80', '81', '8080:82', '8080:82/udp', '127.0.0.1:8080:82']),
    ).toHaveLength(5)
    expect(() => normalizePorts(['8080:80', '8080:81'])).toThrow(/8080\/tcp/)
  })
})
