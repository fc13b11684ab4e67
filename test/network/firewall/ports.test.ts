import { describe, expect, test } from 'vitest'
import { normalizePort, normalizePorts, planPorts } from '../../../src/network/firewall/ports.ts'
import { address } from '../records.ts'

const published = (container: number, host: number, hostIp?: string, protocol = 'tcp') => {
  return { container, host, hostIp, protocol }
}

describe('a port', () => {
  test.each([
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

  test.each([
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

  test('of the host is published once; free ones are as many as you like', () => {
    expect(
      normalizePorts(['80', '81', '8080:82', '8080:82/udp', '127.0.0.1:8080:82']),
    ).toHaveLength(5)
    expect(() => normalizePorts(['8080:80', '8080:81'])).toThrow(/8080\/tcp/)
  })
})

describe('published ports', () => {
  const addresses = [address('10.0.0.2'), address('fd00::2')]
  const plan = (hostIp: string | undefined) =>
    planPorts([{ container: 80, host: 8080, hostIp, protocol: 'tcp' }], addresses)

  test.each([
    [undefined, ['0.0.0.0', '::'], [undefined, undefined]],
    ['0.0.0.0', ['0.0.0.0'], [undefined]],
    ['::', ['::'], [undefined]],
    ['127.0.0.1', ['127.0.0.1'], ['127.0.0.1']],
    ['2001:DB8::0:1', ['2001:DB8::0:1'], ['2001:db8::1']],
  ])('at %s are held at %j', (hostIp, held, hosts) => {
    const { reserve, elements } = plan(hostIp)
    expect(reserve.map((each) => each.address)).toEqual(held)
    expect(elements.map(({ host }) => host)).toEqual(hosts)
    expect(elements.map(({ address: to, family }) => [family, to])).toEqual(
      held.map((each) => (each.includes(':') ? [6, 'fd00::2'] : [4, '10.0.0.2'])),
    )
  })

  test('of a family that the container has no address of are none', () => {
    expect(planPorts(normalizePorts(['[::1]:8080:80']), [address('10.0.0.2')]).reserve).toEqual([])
  })
})
