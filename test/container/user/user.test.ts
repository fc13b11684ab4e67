import { describe, expect, test } from 'vitest'
import { findUser, mapUser } from '../../../src/container/user/user.ts'

const database = {
  passwd: [
    'root:x:0:0:root:/root:/bin/sh',
    '# a comment',
    'www:x:33:33::/var/www:/bin/false',
    'nohome:x:34:34:::',
    'broken:x:none:33::/:/bin/sh',
    '4000:x:0:0::/root:/bin/sh',
  ].join('\n'),
  group: ['root:x:0:', 'www:x:33:', 'mail:x:8:www,root', 'video:x:44:www', 'bad:x:x:www'].join(
    '\n',
  ),
}

describe('findUser', () => {
  test.each([
    ['', 0, 0, [0, 8], '/root'],
    ['root', 0, 0, [0, 8], '/root'],
    ['www', 33, 33, [33, 8, 44], '/var/www'],
    ['33', 33, 33, [33, 8, 44], '/var/www'],
    ['www:mail', 33, 8, [8], '/var/www'],
    ['www:1234', 33, 1234, [1234], '/var/www'],
    ['1000', 1000, 0, [0], '/'],
    ['1000:1001', 1000, 1001, [1001], '/'],
    ['nohome', 34, 34, [34], '/'],
  ])('%j', (asked, uid, gid, additionalGids, home) => {
    expect(findUser(asked, database)).toEqual({ uid, gid, additionalGids, home })
  })

  test('a number is never a name, so an image cannot make root of it', () => {
    expect(findUser('4000', database).uid).toBe(4000)
  })

  test.each(['nobody', 'www:nogroup', 'broken', 'a:b:c', '-1', '4294967296'])(
    '%j is refused',
    (asked) => {
      expect(() => findUser(asked, database)).toThrow(
        expect.objectContaining({ code: 'KEELSON_USER_NOT_FOUND' }),
      )
    },
  )
})

describe('mapUser', () => {
  const single = [{ containerID: 0, hostID: 1000, size: 1 }]
  const alone = { uidMappings: single, gidMappings: single, setgroups: 'deny' as const }

  test('with a single id there is root, without further groups', () => {
    expect(mapUser(findUser('root', database), alone).additionalGids).toEqual([])
    expect(() => mapUser(findUser('www', database), alone)).toThrow(
      expect.objectContaining({ code: 'KEELSON_UNSUPPORTED' }),
    )
  })

  test('groups that are not mapped are left out', () => {
    const ids = [{ containerID: 0, hostID: 100_000, size: 40 }]
    const plan = { uidMappings: ids, gidMappings: ids, setgroups: 'allow' as const }
    expect(mapUser(findUser('www', database), plan).additionalGids).toEqual([33, 8])
  })
})
