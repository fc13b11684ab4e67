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

test.each([
  { cmd: ['x'] },
  { Cmd: 'x' },
  { Env: [1] },
  { Labels: { a: 1 } },
  { ExposedPorts: ['80/tcp'] },
  { Healthcheck: { Retries: 'three' } },
  { User: 0 },
  'Cmd',
])('what no configuration can have is refused: %j', (wrong) => {
  expect(() => changedConfig(CONFIG, wrong as object)).toThrow(
    expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'changes' }),
  )
})
