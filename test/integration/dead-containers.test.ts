import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Engine, type Container, type Warning } from '../../src/index.ts'
import { run } from '../support/process.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'

let test: TestEngine
let warnings: Warning[]
/** A file that cannot be removed, and so keeps what a container wrote from it. */
let busy: string | undefined

beforeEach(async () => {
  warnings = []
  test = await testEngine({ onWarning: (warning) => warnings.push(warning) })
})
afterEach(async () => {
  await free()
  await test[Symbol.asyncDispose]()
})

async function free(): Promise<void> {
  if (busy !== undefined) await run('chattr', ['-i', busy])
  busy = undefined
}

/** One whose removal has begun and cannot be finished. */
async function dying(options = {}): Promise<Container> {
  const { engine, image } = test
  const container = await engine.containers.create({ image, name: 'dying', ...options })
  const { directories } = await container.inspect()
  const [writable = ''] = directories.writable
  const path = join(writable, 'busy')
  await run('touch', [path])
  await run('chattr', ['+i', path])
  busy = path
  await container.remove()
  await expect.poll(() => container.status()).toBe('dead')
  return container
}

const leftOf = async ({ id }: Container) =>
  (await readdir(join(test.root, 'containers'))).filter((name) => name.includes(id))

it('a container whose removal fails half way is dead, and says so', async () => {
  const { engine, image } = test
  const container = await dying()
  expect(warnings).toContainEqual(
    expect.objectContaining({
      code: 'container-left-behind',
      message: expect.stringContaining(container.id),
    }),
  )
  const listed = await engine.containers.list({ filters: { status: 'dead' } })
  expect(listed.map(({ id, name }) => [id, name])).toEqual([[container.id, 'dying']])
  expect(await engine.containers.list()).toEqual([])
  const found = await engine.containers.get(container.id.slice(0, 12))
  expect(await found.state()).toMatchObject({ status: 'dead', pid: 0 })
  // Its name is free all the same.
  await using other = await engine.containers.create({ image, name: 'dying' })
  expect((await engine.containers.get('dying')).id).toBe(other.id)
  const first = async () => {
    for await (const _ of found.logs()) return
  }
  const calls = [
    () => found.start(),
    () => found.stop(),
    () => found.exec(['true']),
    () => found.wait(),
    () => found.wait({ condition: 'removed' }),
    () => found.attach(),
    () => found.files.readdir('/'),
    () => found.diff(),
    first,
  ]
  for (const call of calls) {
    await expect((async () => await call())()).rejects.toMatchObject({
      code: 'KEELSON_CONTAINER_STATE',
      containerStatus: 'dead',
      hint: expect.stringContaining('remove({ force: true })'),
    })
  }
})

it('a dead container is removed for good as soon as that can be', async () => {
  const { engine } = test
  const container = await dying()
  await expect(container.remove({ force: true })).rejects.toMatchObject({
    code: 'KEELSON_PERMISSION',
  })
  expect(await container.status()).toBe('dead')
  await free()
  await container.remove({ force: true })
  expect(await container.status()).toBe('removing')
  expect(await leftOf(container)).toEqual([])
  expect(await engine.containers.list({ all: true })).toEqual([])
  await expect(engine.containers.get(container.id)).rejects.toMatchObject({
    code: 'KEELSON_CONTAINER_NOT_FOUND',
  })
})

it('the next engine finishes what it can, and keeps what it cannot', async () => {
  const { root, runRoot, engine } = test
  const container = await dying({ detached: true })
  await engine.close()
  const again = async () =>
    await Engine.open({ root, runRoot, onWarning: (warning) => warnings.push(warning) })
  {
    await using next = await again()
    expect(await (await next.containers.get(container.id)).status()).toBe('dead')
    expect(warnings.at(-1)).toMatchObject({ code: 'container-repair' })
  }
  await free()
  await using last = await again()
  expect(await last.containers.list({ all: true })).toEqual([])
  expect(await leftOf(container)).toEqual([])
})
