import { Readable } from 'node:stream'
import { anything, assert, constantFrom, dictionary, property } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CONTAINER_OPTIONS, normalizeRunOptions } from '../../src/container/normalize/normalize.ts'
import type { RunOptions } from '../../src/container/options/options.ts'
import { KeelsonError, type IdMapping, type UserMappings } from '../../src/index.ts'

const MIB = 2 ** 20
const ODD = {
  withBigInt: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withSparseArray: true,
  withTypedArray: true,
}
const normalize = (options: object) => normalizeRunOptions(['true'], options)

function mappings(...ranges: IdMapping[]): UserMappings {
  return { uidMappings: ranges, gidMappings: ranges }
}

describe('normalizeRunOptions', () => {
  test.each<[RunOptions, object]>([
    [{}, { network: 'none', shmSize: 64 * MIB, reject: true, collect: true, labels: {} }],
    [{ entrypoint: '' }, { entrypoint: [] }],
    [{ entrypoint: '/e' }, { entrypoint: ['/e'] }],
    [{ env: ['A=1', 'B', 'C=a=b', 'D='] }, { env: { A: '1', B: undefined, C: 'a=b', D: '' } }],
    [{ env: { A: '1', B: undefined } }, { env: { A: '1', B: undefined } }],
    [{ user: 0 }, { user: '0' }],
    [{ user: 'a:b' }, { user: 'a:b' }],
    [{ hostname: 'a.b-c_d' }, { hostname: 'a.b-c_d' }],
    [{ memory: '6m' }, { memory: 6 * MIB }],
    [
      { memory: 0, memoryReservation: 0, memorySwap: 0 },
      { memory: undefined, memorySwap: undefined },
    ],
    [
      { memory: '8m', memorySwap: '8m' },
      { memory: 8 * MIB, memorySwap: 8 * MIB },
    ],
    [{ memory: '8m', memorySwap: -1 }, { memorySwap: -1 }],
    [{ memorySwap: '-1' }, { memorySwap: -1 }],
    [
      { cpus: 0, cpuShares: 0, cpuset: '' },
      { cpus: undefined, cpuShares: undefined },
    ],
    [
      { cpus: 0.01, cpuShares: 2, cpuset: '0-1,3' },
      { cpus: 0.01, cpuShares: 2, cpuset: '0-1,3' },
    ],
    [{ pids: 0 }, { pids: -1 }],
    [{ pids: -1 }, { pids: -1 }],
    [{ shmSize: 0 }, { shmSize: 64 * MIB }],
    [{ ulimits: { nofile: 5 } }, { ulimits: [{ name: 'nofile', soft: 5, hard: 5 }] }],
    [{ ulimits: { RLIMIT_CORE: -1 } }, { ulimits: [{ name: 'core', soft: -1, hard: -1 }] }],
    [{ devices: ['/dev/a'] }, { devices: [{ path: '/dev/a', target: '/dev/a', access: 'rwm' }] }],
    [{ devices: ['/dev/a:r'] }, { devices: [{ path: '/dev/a', target: '/dev/a', access: 'r' }] }],
    [
      { devices: ['/dev/a:/dev/b:rw'] },
      { devices: [{ path: '/dev/a', target: '/dev/b', access: 'rw' }] },
    ],
    [
      { devices: [{ path: '/dev/a', access: 'm' }] },
      { devices: [{ path: '/dev/a', target: '/dev/a', access: 'm' }] },
    ],
    [{ extraHosts: ['a:192.0.2.1', 'b=::1'] }, hosts(['a', '192.0.2.1'], ['b', '::1'])],
    [{ extraHosts: { a: '2001:db8::1' } }, hosts(['a', '2001:db8::1'])],
    [{ extraHosts: ['a:2001:db8::1'] }, hosts(['a', '2001:db8::1'])],
    [
      { labels: { a: '' }, annotations: { b: 'c' } },
      { labels: { a: '' }, annotations: { b: 'c' } },
    ],
    [
      { pid: 'container:a', ipc: { container: 'b' }, uts: { container: { id: 'c' } } },
      { pid: { container: 'a' }, ipc: { container: 'b' }, uts: { container: 'c' } },
    ],
    [{ networks: 'container:a' }, { network: { container: 'a' }, userns: 'host' }],
    [{ ipc: 'shareable' }, { ipc: 'shareable' }],
    [
      { userns: mappings({ containerID: 0, hostID: 1000, size: 1 }) },
      { userns: mappings({ containerID: 0, hostID: 1000, size: 1 }) },
    ],
    [{ storage: 'disk' }, { storage: undefined }],
    [{ storage: 'tmpfs' }, { storage: { size: undefined } }],
    [{ storage: { size: '1m' } }, { storage: { size: 1_048_576 } }],
    [{ timeout: '1m30s' }, { timeout: 90_000 }],
    [{ timeout: Number.MAX_SAFE_INTEGER }, { timeout: Number.MAX_SAFE_INTEGER }],
    [{ maxOutput: '1k' }, { maxOutput: 1024 }],
    [{ stripFinalNewline: true }, { stripFinalNewline: true }],
    [{ sysctls: { 'net.core.somaxconn': '1' } }, { sysctls: { 'net.core.somaxconn': '1' } }],
  ])('%j', (options, expected) => {
    expect(normalize(options)).toMatchObject(expected)
  })

  const refused: Record<string, unknown[]> = {
    entrypoint: [7, [7], ['a\0'], {}, null],
    env: [{ '': 'x' }, { 'A=B': 'x' }, { A: 7 }, { A: 'x\0' }, ['=x'], [7], 'A=1', 7, null],
    user: [{}, null, true, 'a\0'],
    workdir: ['', 'a', './a', 7, null, '/a\0'],
    hostname: ['', '-a', 'a-', 'a b', 'a'.repeat(64), 'a/b', 7, {}, null],
    domainname: ['', 'a b', 7],
    labels: [{ a: 7 }, { '': 'x' }, { a: 'x\0' }, [], ['a=b'], 'a=b', 7, null],
    annotations: [{ a: 7 }, { '': 'x' }, [], null],
    mounts: ['/a:/b', {}, null, [7], [null], ['/a:/t', { type: 'tmpfs', target: '/t/' }]],
    storage: ['memory', 7, null, {}, { size: 'x' }, { sizes: 1 }],
    networks: [
      7,
      {},
      null,
      '',
      ['a', 'a'],
      ['none'],
      [{ network: 'a', ip: '::1' }],
      [{ network: 'a', mac: '1' }],
    ],
    ports: [
      'x',
      '99999:80',
      0,
      {},
      null,
      [null],
      ['80:80/icmp'],
      ['1-2:1-3'],
      ['1.2.3:1:1'],
      ['80:80', '80:81'],
    ],
    memory: ['5m', 1, -1, 'lots', Number.NaN, null, {}],
    memoryReservation: [-1, 'x', null],
    memorySwap: ['8m', -2, 'x', null],
    cpus: [-1, 0.001, 1e9, '1', Number.NaN, null, {}],
    cpuShares: [1, -1, 262_145, '512', null],
    memorySwappiness: [-1, 101, '5', null],
    blkio: [
      7,
      'x',
      [],
      null,
      { weight: 1 },
      { readBps: { sda: 1 } },
      { writeBps: { '/a': 0 } },
    ].concat([{ readIops: { '/a': 'x' } }, { weightDevice: 7 }] as never[]),
    hugetlb: [7, [], null, { '2M': 1 }, { '2MB': 'x' }],
    deviceCgroupRules: ['c 1:1 r', ['x'], [7], ['c 1:1 z'], {}, null],
    cpuset: ['a', '0-', ',', '0,,1', 7, null, {}],
    pids: [-2, 1.5, Number.NaN, '5', Number.POSITIVE_INFINITY, null],
    ulimits: [{ nofiles: 1 }, { nofile: -2 }, { nofile: 1.5 }, { nofile: { soft: 2, hard: 1 } }]
      .concat([{ nofile: { soft: 1 } }, { nofile: '5' }, { nofile: null }] as never[])
      .concat([[], 7, null] as never[]),
    sysctls: [
      { 'kernel.panic': '1' },
      { 'net.x': 1 },
      { '../x': '1' },
      { 'net..x': '1' },
      [],
      null,
    ],
    shmSize: [-1, 'x', null],
    oomScoreAdj: [-1001, 1001, '5', null],
    devices: ['/dev/a', ['dev/a'], ['/dev/a:x'], ['/dev/a:/b:rr\0'], [{}], [7], [null], {}, null],
    capAdd: [7, [7], {}, null],
    capDrop: [7, [7], {}, null],
    privileged: ['yes', 1, 0, null, {}],
    readonly: ['yes', 1, null],
    seccomp: [7, true, null],
    apparmor: [7, {}, null, 'a\0'],
    noNewPrivileges: ['no', 0, null],
    pid: ['none', 'container:', { container: '' }, { container: 'x', more: 1 }, {}, 7, null],
    ipc: ['x', { container: 7 }, { container: {} }, 7, null],
    uts: ['x', { container: 'a\0' }, 7, null],
    userns: [
      'private',
      7,
      null,
      {},
      { uidMappings: [], gidMappings: [] },
      { uidMappings: [{ containerID: 0, hostID: 1, size: 1 }] },
      mappings({ containerID: 0, hostID: 1, size: 0 }),
      mappings({ containerID: 0, hostID: 2 ** 32 - 2, size: 2 }),
      mappings({ containerID: 0, hostID: -1, size: 1 }),
      // Without root; twice the same in the container; twice the same on the host.
      mappings({ containerID: 1, hostID: 1, size: 1 }),
      mappings({ containerID: 0, hostID: 10, size: 2 }, { containerID: 1, hostID: 20, size: 1 }),
      mappings({ containerID: 0, hostID: 10, size: 2 }, { containerID: 9, hostID: 11, size: 1 }),
    ],
    init: [1, 'true', null],
    extraHosts: [['a'], ['a:b'], ['a b:192.0.2.1'], { a: 'b' }, { a: 7 }, [7], 'a:192.0.2.1', null],
    dns: ['192.0.2.1', ['x'], [7], {}, null],
    dnsSearch: [7, [7], {}, null],
    dnsOptions: [7, [7], {}, null],
  }
  const refusedOfRuns: Record<string, unknown[]> = {
    stdin: [7, true, null, {}, { pipe: false }, ['a']],
    timeout: [-1, Number.NaN, Number.POSITIVE_INFINITY, '5', 'x', null],
    signal: [{}, { aborted: false }, null, true],
    maxOutput: [-1, 1.5, 'x', null],
    collect: [1, 'no', null],
    reject: [1, 'no', null],
    stripFinalNewline: [1, 'no', null],
  }

  test('the tables below are about every option', () => {
    expect(Object.keys(refused).toSorted()).toEqual([...CONTAINER_OPTIONS].toSorted())
  })

  test.each(
    Object.entries({ ...refused, ...refusedOfRuns }).flatMap(([option, values]) =>
      values.map((value) => ({ option, value })),
    ),
  )('$option: $value is refused by name', ({ option, value }) => {
    expect(() => normalize({ [option]: value })).toThrow(
      expect.objectContaining({
        code: 'KEELSON_INVALID_OPTION',
        option: expect.stringMatching(new RegExp(`^${option}(\\.|$)`)),
      }),
    )
  })

  test.each([
    [{ memroy: 1 }, 'memroy', 'Did you mean memory?'],
    [{ memory: '8m', memoryReservation: '9m' }, 'memoryReservation', undefined],
    [{ memory: '8m', memorySwap: '7m' }, 'memorySwap', undefined],
    [{ uts: 'host', hostname: 'a' }, 'hostname', undefined],
    [{ uts: 'host', domainname: 'a' }, 'domainname', undefined],
    [{ networks: 'host', sysctls: { 'net.core.somaxconn': '1' } }, 'sysctls', undefined],
    [{ ipc: 'host', sysctls: { 'kernel.shmmax': '1' } }, 'sysctls', undefined],
    [{ ipc: 'container:a', sysctls: { 'kernel.shmmax': '1' } }, 'sysctls', undefined],
    [{ networks: 'container:a', sysctls: { 'net.core.somaxconn': '1' } }, 'sysctls', undefined],
    [{ networks: 'container:a', dns: ['192.0.2.1'] }, 'dns', undefined],
    [{ networks: 'container:a', extraHosts: ['b:192.0.2.1'] }, 'extraHosts', undefined],
    [{ networks: 'container:a', hostname: 'b' }, 'hostname', undefined],
    [{ uts: 'container:a', hostname: 'b' }, 'hostname', undefined],
    [{ uts: 'container:a', domainname: 'b' }, 'domainname', undefined],
    [{ pid: 'container:a', userns: 'auto' }, 'userns', undefined],
    [{ mounts: [{ type: 'bind', source: '/a', target: '/a', idmap: true }] }, 'mounts', undefined],
  ])('%j is refused', (options, option, hint) => {
    expect(() => normalize(options)).toThrow(
      expect.objectContaining({
        code: 'KEELSON_INVALID_OPTION',
        option,
        ...(hint === undefined ? {} : { hint }),
      }),
    )
  })

  test.each([[7], [[7]], [['a\0']], [{}], [null]])('the command %j is refused', (command) => {
    expect(() => normalizeRunOptions(command as never, {})).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'command' }),
    )
  })

  test.each([null, 7, 'x'])('the options %j are refused', (options) => {
    expect(() => normalizeRunOptions(['true'], options as never)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION' }),
    )
  })

  test.each([['text'], [Buffer.from('bytes')], [Readable.from([])], [{ pipe: true as const }]])(
    'standard input may be %o',
    (stdin) => {
      expect(normalize({ stdin }).stdin).toBe(stdin)
    },
  )

  test('whatever it is given, it answers or says which option is wrong', () => {
    const option = constantFrom(...CONTAINER_OPTIONS, ...Object.keys(refusedOfRuns))
    assert(
      property(dictionary(option, anything(ODD)), (options) => {
        try {
          normalize(options)
        } catch (error) {
          expect(KeelsonError.is(error) && error.code).toBe('KEELSON_INVALID_OPTION')
          expect(error).toHaveProperty('option')
        }
      }),
      { numRuns: 2000 },
    )
  })
})

function hosts(...pairs: [string, string][]) {
  return { extraHosts: pairs.map(([name, address]) => ({ name, address })) }
}
