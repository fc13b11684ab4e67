import { describe, expect, test } from 'vitest'
import { etcFiles } from '../../../src/container/config/etc-files.ts'

const HOST = {
  hosts: '127.0.0.1 localhost\n192.0.2.9 neighbour',
  resolvConf: [
    '# a comment',
    'nameserver 127.0.0.53',
    'nameserver ::1',
    'nameserver 192.0.2.1',
    'search corp.test',
    'options edns0',
    'sortlist 192.0.2.0',
    '',
  ].join('\n'),
}
const NOTHING = {
  network: 'none' as const,
  extraHosts: [],
  dns: undefined,
  dnsSearch: undefined,
  dnsOptions: undefined,
}
const EXTRA = { extraHosts: [{ name: 'db.test', address: '2001:db8::1' }] }

describe('/etc/hosts', () => {
  test('names localhost, the container and what the caller adds', () => {
    const { hosts } = etcFiles('box', { ...NOTHING, ...EXTRA }, HOST)
    const lines = hosts.trimEnd().split('\n')
    expect(lines[0]).toBe('127.0.0.1\tlocalhost')
    expect(lines.slice(-2)).toEqual(['127.0.1.1\tbox', '2001:db8::1\tdb.test'])
    expect(hosts).not.toContain('neighbour')
  })

  test("is the host's with the host's network, whole lines added", () => {
    const shared = { ...NOTHING, network: 'host' as const }
    expect(etcFiles('box', shared, HOST).hosts).toBe(`${HOST.hosts}\n`)
    expect(etcFiles('box', { ...shared, ...EXTRA }, HOST).hosts).toBe(
      `${HOST.hosts}\n2001:db8::1\tdb.test\n`,
    )
    expect(etcFiles('box', shared, { ...HOST, hosts: '' }).hosts).toBe('')
  })
})

describe('on a network', () => {
  const network = [{ network: 'net', aliases: [], priority: 0 }]
  const own = { addresses: ['10.89.0.2'], gateways: ['10.89.0.1', 'fd00::1'] }

  test('the name service answers for whatever name servers there are', () => {
    for (const dns of [undefined, ['192.0.2.53']]) {
      const { resolvConf } = etcFiles('box', { ...NOTHING, network, dns }, HOST, own)
      expect(resolvConf.split('\n').toSorted()).toEqual(
        ['', 'nameserver 127.0.0.11', 'options edns0', 'search corp.test'].toSorted(),
      )
    }
  })

  test('host-gateway is every address of the host there', () => {
    const extraHosts = [{ name: 'hub', address: 'host-gateway' }]
    const { hosts } = etcFiles('box', { ...NOTHING, network, extraHosts }, HOST, own)
    expect(hosts.trimEnd().split('\n').slice(-3)).toEqual([
      '10.89.0.2\tbox',
      '10.89.0.1\thub',
      'fd00::1\thub',
    ])
    const shared = { ...NOTHING, network: 'host' as const, extraHosts }
    expect(etcFiles('box', shared, HOST).hosts).toContain('127.0.0.1\thub\n')
  })
})

test('/etc/hostname is the name', () => {
  expect(etcFiles('box', NOTHING, HOST).hostname).toBe('box\n')
})

describe('/etc/resolv.conf', () => {
  test("is the host's, without name servers that only the host can reach", () => {
    expect(linesOf({})).toEqual(['nameserver 192.0.2.1', 'search corp.test', 'options edns0'])
  })

  test('keeps them where the network is shared', () => {
    expect(linesOf({ network: 'host' }).filter((line) => line.startsWith('nameserver'))).toEqual([
      'nameserver 127.0.0.53',
      'nameserver ::1',
      'nameserver 192.0.2.1',
    ])
  })

  test.each([
    [{ dns: ['9.9.9.9'] }, ['search corp.test', 'options edns0', 'nameserver 9.9.9.9']],
    [{ dnsSearch: ['a', 'b'] }, ['nameserver 192.0.2.1', 'options edns0', 'search a b']],
    [{ dnsOptions: ['ndots:2'] }, ['nameserver 192.0.2.1', 'search corp.test', 'options ndots:2']],
    // An empty list is a wish too.
    [{ dns: [], dnsSearch: [], dnsOptions: [] }, ['']],
  ])('has %j in place of it', (options, expected) => {
    expect(linesOf(options)).toEqual(expected)
  })
})

function linesOf(options: object): string[] {
  return etcFiles('box', { ...NOTHING, ...options }, HOST)
    .resolvConf.trimEnd()
    .split('\n')
}
