import { describe, expect, test } from 'vitest'
import { destination } from '../../../src/container/files/copy-in.ts'

const to = (path: string, slash = false) => ({ path, slash, base: 'source' })

/** `docker cp`'s documented table. */
describe('where a copy comes to lie', () => {
  test.each([
    // a file
    { what: 'file, to nothing', is: [false, false, undefined], at: to('/a/b'), gives: ['/a', 'b'] },
    { what: 'file, to a file', is: [false, false, false], at: to('/a/b'), gives: ['/a', 'b'] },
    {
      what: 'file, to a directory',
      is: [false, false, true],
      at: to('/a/b'),
      gives: ['/a/b', 'source'],
    },
    {
      what: 'file, to a directory with a slash',
      is: [false, false, true],
      at: to('/a/b', true),
      gives: ['/a/b', 'source'],
    },
    // a directory
    {
      what: 'directory, to nothing',
      is: [true, false, undefined],
      at: to('/a/b'),
      gives: ['/a/b', ''],
    },
    {
      what: 'directory, to a directory',
      is: [true, false, true],
      at: to('/a/b'),
      gives: ['/a/b', 'source'],
    },
    {
      what: 'what is in it, to a directory',
      is: [true, true, true],
      at: to('/a/b'),
      gives: ['/a/b', ''],
    },
    {
      what: 'what is in it, to nothing',
      is: [true, true, undefined],
      at: to('/a/b'),
      gives: ['/a/b', ''],
    },
  ] as const)('$what', ({ is: [directory, contents, target], at, gives: [parent, name] }) => {
    expect(destination(directory, contents, target, at)).toEqual({ directory: parent, name })
  })

  test.each([
    { what: 'a file into nothing with a slash', is: [false, false, undefined], at: to('/a', true) },
    { what: 'a file into a file with a slash', is: [false, false, false], at: to('/a', true) },
    { what: 'a directory onto a file', is: [true, false, false], at: to('/a') },
  ] as const)('$what is refused', ({ is: [directory, contents, target], at }) => {
    const code = 'KEELSON_NOT_A_DIRECTORY'
    expect(() => destination(directory, contents, target, at)).toThrow(
      expect.objectContaining({ code }),
    )
  })
})
