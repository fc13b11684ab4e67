import { describe, expect, test } from 'vitest'
import { localSource } from '../../src/volume/local.ts'
import { normalizeVolume, type VolumeOptions } from '../../src/volume/volume-options.ts'

const tmpfs = { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,noexec' }

describe('normalizeVolume', () => {
  test.each<[VolumeOptions, object]>([
    [{}, { name: undefined, labels: {}, driver: 'local', options: {} }],
    [
      { name: 'a.b_c-1', labels: { a: '' } },
      { name: 'a.b_c-1', labels: { a: '' } },
    ],
    [{ options: tmpfs }, { options: tmpfs }],
    [
      { driver: 'mine', options: { any: 'thing' } },
      { driver: 'mine', options: { any: 'thing' } },
    ],
  ])('%j', (given, expected) => {
    expect(normalizeVolume(given)).toMatchObject(expected)
  })

  test.each<[object, string]>([
    [{ name: 'a' }, 'name'],
    [{ name: '.ab' }, 'name'],
    [{ name: 'a/b' }, 'name'],
    [{ name: 'a'.repeat(129) }, 'name'],
    [{ name: 7 }, 'name'],
    [{ nam: 'ab' }, 'nam'],
    [{ labels: ['a'] }, 'labels'],
    [{ labels: { a: 1 } }, 'labels'],
    [{ driver: '' }, 'driver'],
    [{ options: { size: '1m' } }, 'options'],
    [{ options: { type: 'nfs' } }, 'options'],
    [{ options: { type: 'none', device: 'relative', o: 'bind' } }, 'options'],
  ])('%j is refused', (given, option) => {
    expect(() => normalizeVolume(given)).toThrow(
      expect.objectContaining({
        code: 'KEELSON_INVALID_OPTION',
        option,
        hint: expect.any(String),
      }),
    )
  })
})

describe('localSource', () => {
  test.each([
    [{}, { kind: 'directory', path: '/data' }],
    [
      { type: 'none', device: '/srv', o: 'bind' },
      { kind: 'directory', path: '/srv' },
    ],
    [tmpfs, { kind: 'mount', type: 'tmpfs', device: 'tmpfs', options: ['size=1m', 'noexec'] }],
  ])('%j', (options, source) => {
    expect(localSource(options, '/data')).toEqual(source)
  })
})
