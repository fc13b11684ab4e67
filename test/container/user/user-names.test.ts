import { expect, test } from 'vitest'
import { userNames } from '../../../src/container/user/user-names.ts'

const PASSWD =
  'root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\nuser:x:1000:1000\nbad:x:y\n:x:5:\n'

test('names users as the image does', () => {
  const nameOf = userNames(PASSWD, undefined)
  expect([0, 1000, 5, 7].map(nameOf)).toEqual(['root', 'user', undefined, undefined])
})

test('by the number that they have in the container', () => {
  const nameOf = userNames(PASSWD, [
    { containerID: 0, hostID: 1001, size: 1 },
    { containerID: 1, hostID: 100_000, size: 65_535 },
  ])
  expect([1001, 100_999, 0, 1000].map(nameOf)).toEqual(['root', 'user', undefined, undefined])
})
