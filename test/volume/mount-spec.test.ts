import { describe, expect, test } from 'vitest'
import { normalizeMount, type Mount } from '../../src/volume/mount-spec.ts'

const bind = { type: 'bind', source: '/s', target: '/t' } as const
const normalBind = {
  ...bind,
  readonly: false,
  propagation: 'rprivate',
  create: false,
  idmap: false,
}
const normalTmpfs = { type: 'tmpfs', readonly: false, size: undefined, mode: undefined }

const normalVolume = {
  type: 'volume',
  source: 'v1',
  target: '/t',
  readonly: false,
  nocopy: false,
  anonymous: false,
}

describe('normalizeMount', () => {
  test.each<[Mount | string, object]>([
    ['/s:/t', normalBind],
    ['/s:/t:ro', { ...normalBind, readonly: true }],
    ['/s:/t:rw', normalBind],
    ['/s:/t:rw,z', normalBind],
    ['/s:/t:ro,rshared', { ...normalBind, readonly: true, propagation: 'rshared' }],
    ['/s:/t:', normalBind],
    ['/s:/t/', normalBind],
    ['/s:/a/../t/.', normalBind],
    [bind, normalBind],
    [
      { ...bind, readonly: true, create: true },
      { ...normalBind, readonly: true, create: true },
    ],
    [
      { ...bind, idmap: true },
      { ...normalBind, idmap: true },
    ],
    [
      { ...bind, propagation: 'slave' },
      { ...normalBind, propagation: 'slave' },
    ],
    [
      { ...bind, subpath: './a/../b/' },
      { ...normalBind, subpath: 'b' },
    ],
    [{ ...bind, subpath: '.' }, normalBind],
    ['v1:/t', normalVolume],
    ['v1:/t:ro,nocopy', { ...normalVolume, readonly: true, nocopy: true }],
    ['/t', { ...normalVolume, source: '', anonymous: true }],
    [
      { type: 'volume', target: '/t' },
      { ...normalVolume, source: '', anonymous: true },
    ],
    [
      { type: 'volume', source: 'v1', target: '/t', subpath: 'a/b' },
      { ...normalVolume, subpath: 'a/b' },
    ],
    [
      { type: 'image', source: 'busybox:1', target: '/t/', subpath: 'a' },
      { type: 'image', source: 'busybox:1', target: '/t', subpath: 'a' },
    ],
    [
      { type: 'tmpfs', target: '/t', uid: 1000, gid: 50 },
      { ...normalTmpfs, target: '/t', uid: 1000, gid: 50 },
    ],
    [
      { type: 'tmpfs', target: '/t' },
      { ...normalTmpfs, target: '/t' },
    ],
    [
      { type: 'tmpfs', target: '/t', size: '1m', mode: 0o700, readonly: true },
      { type: 'tmpfs', target: '/t', readonly: true, size: 1_048_576, mode: 0o700 },
    ],
  ])('%j', (given, expected) => {
    expect(normalizeMount(given)).toEqual(expected)
  })

  test.each<unknown>([
    '',
    '/',
    'data',
    's:/t',
    'v1:t',
    'v1:/t:rshared',
    ':/t',
    './s:/t',
    '/s:t',
    '/s:/',
    '/s:/a/..',
    '/s:/t:ro:ro',
    '/s:/t:exec',
    '/s\0:/t',
    null,
    undefined,
    7,
    {},
    [],
    { type: 'volume', source: 'v', target: '/t' },
    { type: 'volume', source: '/s', target: '/t' },
    { type: 'volume', source: 'v1', target: '/t', nocopy: 'yes' },
    { type: 'volume', source: 'v1', target: '/t', subpath: '../a' },
    { type: 'volume', source: 'v1', target: '/t', subpath: '/a' },
    { type: 'volume', source: 'v1', target: '/t', subpath: '' },
    { ...bind, subpath: 'a/../..' },
    { ...bind, subpath: 'a\0' },
    { type: 'image', target: '/t' },
    { type: 'image', source: '', target: '/t' },
    { type: 'tmpfs', target: '/t', uid: -1 },
    { type: 'tmpfs', target: '/t', gid: 'root' },
    { type: 'bind', target: '/t' },
    { type: 'bind', source: '/s' },
    { ...bind, source: '' },
    { ...bind, source: 7 },
    { ...bind, readonly: 'yes' },
    { ...bind, create: 1 },
    { ...bind, propagation: 'unbindable' },
    { type: 'tmpfs' },
    { type: 'tmpfs', target: '/t', size: '1x' },
    { type: 'tmpfs', target: '/t', mode: 0o10000 },
    { type: 'tmpfs', target: '/t', mode: '700' },
    { type: 'tmpfs', target: '/t', readonly: null },
  ])('%j is refused', (given) => {
    expect(() => normalizeMount(given as Mount)).toThrow(
      expect.objectContaining({
        code: 'KEELSON_INVALID_OPTION',
        option: 'mounts',
        hint: expect.any(String),
      }),
    )
  })
})
