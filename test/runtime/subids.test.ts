import { expect, test } from 'vitest'
import { parseIdRanges, planUserNamespace } from '../../src/runtime/subids.ts'

const ada = { name: 'ada', uid: 1000 }

test.each([
  ['ada:100000:65536\n', [{ start: 100_000, size: 65_536 }]],
  [
    '1000:5:1\nada:100000:65536',
    [
      { start: 5, size: 1 },
      { start: 100_000, size: 65_536 },
    ],
  ],
  ['adam:100000:65536\n10000:1:1', []],
  ['# ada:1:1\nada:x:1\nada:1\nada:1:0\n\nada:4294967290:10', []],
  ['', []],
])('%j', (text, ranges) => {
  expect(parseIdRanges(text, ada)).toEqual(ranges)
})

test('a user without a name is found by number', () => {
  expect(parseIdRanges('undefined:1:1\n1000:7:9', { uid: 1000 })).toEqual([{ start: 7, size: 9 }])
})

const whole = {
  uid: 1000,
  gid: 100,
  uidRanges: [
    { start: 100_000, size: 65_536 },
    { start: 300_000, size: 10 },
  ],
  gidRanges: [{ start: 200_000, size: 65_536 }],
  newuidmap: '/usr/bin/newuidmap',
  newgidmap: '/usr/bin/newgidmap',
}

test('all subordinate ids follow the own one', () => {
  expect(planUserNamespace(whole)).toEqual({
    uidMappings: [
      { containerID: 0, hostID: 1000, size: 1 },
      { containerID: 1, hostID: 100_000, size: 65_536 },
      { containerID: 65_537, hostID: 300_000, size: 10 },
    ],
    gidMappings: [
      { containerID: 0, hostID: 100, size: 1 },
      { containerID: 1, hostID: 200_000, size: 65_536 },
    ],
    newuidmap: '/usr/bin/newuidmap',
    newgidmap: '/usr/bin/newgidmap',
    setgroups: 'allow',
  })
})

test.each([
  { newuidmap: undefined },
  { newgidmap: undefined },
  { uidRanges: [] },
  { gidRanges: [] },
])('with %j there is the one id only', (missing) => {
  expect(planUserNamespace({ ...whole, ...missing })).toEqual({
    uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }],
    gidMappings: [{ containerID: 0, hostID: 100, size: 1 }],
    setgroups: 'deny',
  })
})
