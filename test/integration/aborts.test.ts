import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { wait, type Container } from '../../src/index.ts'
import { Registry } from '../../src/registry-server/index.ts'
import { scripted, testEngine, type TestEngine } from '../support/engine.ts'

let test: TestEngine
let container: Container
/** Does not hear its stop signal. */
let deaf: Container
let hanging: Registry

beforeAll(async () => {
  hanging = await Registry.listen({ intercept: () => ({ fault: 'hang' }) })
  test = await testEngine()
  container = await scripted(test, 'sleep 1000', { healthcheck: { test: 'false' } })
  deaf = await scripted(test, 'trap "" TERM; sleep 1000', { stopTimeout: -1 })
  await container.start()
  await deaf.start()
})
afterAll(async () => {
  await test?.[Symbol.asyncDispose]()
  await hanging?.close()
})

const read = async (items: AsyncIterable<unknown>) => {
  for await (const _ of items);
}

/** What takes a signal, none of which ends by itself. */
const CALLS: Record<string, (signal: AbortSignal) => PromiseLike<unknown>> = {
  run: (signal) => test.engine.run(test.image, ['sleep', '1000'], { signal }),
  pull: (signal) => test.engine.images.pull(`${hanging.host}/app:1`, { signal }),
  create: (signal) => test.engine.containers.create({ image: `${hanging.host}/app:1`, signal }),
  exec: (signal) => container.exec(['sleep', '1000'], { signal }),
  wait: (signal) => container.wait({ signal }),
  'wait until healthy': (signal) => container.wait({ condition: 'healthy', signal }),
  'wait until removed': (signal) => container.wait({ condition: 'removed', signal }),
  ready: (signal) => container.ready(wait.port(80), { signal }),
  'ready, by a line': (signal) => container.ready(wait.log('never'), { signal }),
  'ready, any': (signal) => container.ready(wait.any([wait.port(80), wait.exit()]), { signal }),
  stop: (signal) => deaf.stop({ signal }),
  restart: (signal) => deaf.restart({ signal }),
  logs: (signal) => read(container.logs({ follow: true, signal })),
  stats: (signal) => read(container.stats({ signal })),
}

describe.each(Object.keys(CALLS))('a signal that fires ends %s', (name) => {
  const call = async (signal: AbortSignal) => await CALLS[name]?.(signal)

  it('with KEELSON_ABORTED, although it is one of AbortSignal.timeout()', async () => {
    await expect(call(AbortSignal.timeout(100))).rejects.toMatchObject({
      code: 'KEELSON_ABORTED',
      name: 'AbortedError',
      cause: expect.objectContaining({ name: 'TimeoutError' }),
    })
  })

  it('with its reason as the cause, also when it has fired before', async () => {
    const reason = new Error('enough')
    await expect(call(AbortSignal.abort(reason))).rejects.toMatchObject({
      code: 'KEELSON_ABORTED',
      cause: reason,
    })
  })
})

describe('a time-out of their own', () => {
  it('is KEELSON_TIMEOUT for programs and KEELSON_WAIT_TIMEOUT for ready()', async () => {
    const { engine, image } = test
    const signal = new AbortController().signal
    const late = { code: 'KEELSON_TIMEOUT', timedOut: true }
    const run = engine.run(image, ['sleep', '1000'], { timeout: 100, signal })
    await expect(run).rejects.toMatchObject(late)
    const exec = container.exec(['sleep', '1000'], { timeout: 100, signal })
    await expect(exec).rejects.toMatchObject(late)
    const ready = container.ready(wait.port(80), { timeout: 100, signal })
    await expect(ready).rejects.toMatchObject({ code: 'KEELSON_WAIT_TIMEOUT' })
  })
})
