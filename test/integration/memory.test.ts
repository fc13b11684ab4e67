import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { wait, type Container } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'
import { countHeld } from '../support/garbage.ts'

const TIMES = 20
/** A container that is made ahead is made like the last one. */
const KEPT = 2

let test: TestEngine
let container: Container
beforeAll(async () => {
  test = await testEngine()
  container = await test.engine.containers.run({
    image: test.image,
    command: ['nc', '-ll', '-p', '9', '-e', 'cat'],
  })
  await container.ready(wait.port(9))
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

/** Does it again and again, and counts how many of the objects that this gives are still held. */
async function heldAfter(work: () => Promise<object>): Promise<number> {
  const objects: WeakRef<object>[] = []
  for (let time = 0; time < TIMES; time++) objects.push(new WeakRef(await work()))
  return await countHeld(objects)
}

/** The same for what is given a signal. */
async function signalsHeldAfter(work: (signal: AbortSignal) => Promise<unknown>): Promise<number> {
  return await heldAfter(async () => {
    const { signal } = new AbortController()
    await work(signal)
    return signal
  })
}

describe('a program that goes on for long keeps nothing', () => {
  it('of runs that are over', async () => {
    const held = await signalsHeldAfter((signal) =>
      test.engine.run(test.image, ['true'], { signal }),
    )
    expect(held).toBeLessThanOrEqual(KEPT)
  })

  it('of what it has executed in a container', async () => {
    const held = await signalsHeldAfter((signal) => container.exec(['true'], { signal }))
    expect(held).toBeLessThanOrEqual(KEPT)
  })

  it('of connections into a container', async () => {
    const held = await heldAfter(async () => {
      const socket = await container.connect(9)
      socket.resume().end('hello')
      await once(socket, 'close')
      return socket
    })
    expect(held).toBeLessThanOrEqual(KEPT)
  })

  it('of logs that were read, and of waiting', async () => {
    const held = await signalsHeldAfter(async (signal) => {
      for await (const line of container.logs({ signal })) expect(line).toBeDefined()
      await container.ready(wait.port(9), { signal })
    })
    expect(held).toBeLessThanOrEqual(KEPT)
  })

  it('of containers that were removed', async () => {
    const held = await heldAfter(async () => {
      await using other = await test.engine.containers.run({ image: test.image, command: ['true'] })
      await other.wait()
      return other
    })
    expect(held).toBeLessThanOrEqual(KEPT)
  })
})
