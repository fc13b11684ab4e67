import { expect, test } from 'vitest'
import { changedConfig } from '../../src/image/commit.ts'

const CONFIG = {
  User: 'user',
  Env: ['A=1', 'B=2'],
  Cmd: ['sh'],
  Labels: { a: '1' },
  ExposedPorts: { '80/tcp': {} },
}

test('lists of names and values grow, all else is replaced, null takes away', () => {
  const changes = {
    User: null,
    Env: ['B=3', 'C='],
    Cmd: ['x'],
    Labels: { b: '2' },
    Volumes: { '/v': {} },
  }
  expect(changedConfig(CONFIG, changes)).toEqual({
    Env: ['A=1', 'B=3', 'C='],
    Cmd: ['x'],
    Labels: { a: '1', b: '2' },
    ExposedPorts: { '80/tcp': {} },
    Volumes: { '/v': {} },
  })
  expect(changedConfig(CONFIG, {})).toEqual(CONFIG)
})

test('a field that no configuration has is refused', () => {
  const wrong = { cmd: ['x'] } as object
  expect(() => changedConfig(CONFIG, wrong)).toThrow(
    expect.objectContaining({ code: 'KEELSON_INVALID_OPTION' }),
  )
})
