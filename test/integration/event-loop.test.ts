import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root as checkout } from '../support/repository.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await testEngine()
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

/** More than a stream takes unasked, and less than pipes hold: what nobody reads there holds up the container's program. */
const FLOOD = `['sh', '-c', 'yes | head -c 60000']`
const RUNNING = `const c = await engine.containers.run({ image, command: ['sleep', '1000'] })`

/** Programs that do not read what they could, and that close nothing. */
const PROGRAMS: Record<string, string> = {
  'an engine that was opened': '',
  'listeners of events': `engine.on('container.exit', () => {})`,
  'a container that runs': RUNNING,
  'a little of a spawned program, unread': `${RUNNING}; const p = await c.spawn(['echo', 'x']); await p.wait()`,
  'much of it': `${RUNNING}; const p = await c.spawn(${FLOOD}); await p.wait()`,
  'what somebody holds who goes on': `${RUNNING}; const p = await c.spawn(['sh', '-c', 'echo x; sleep 1000 &']); await p.wait()`,
  'its standard error': `${RUNNING}; const p = await c.spawn(['sh', '-c', 'echo x >&2']); p.stdout.resume(); await p.wait()`,
  'a terminal': `${RUNNING}; const p = await c.spawn(['echo', 'x'], { tty: true }); await p.wait()`,
  'streams of an exec': `${RUNNING}; const p = c.exec(['echo', 'x'], { collect: false }); p.stdout; p.stderr; await p`,
  'streams of a run': `const p = engine.run(image, ['echo', 'x'], { collect: false }); p.stdout; p.stderr; await p`,
  'an attachment': `
    const c = await engine.containers.create({ image, command: ['echo', 'x'] })
    const a = await c.attach(); await c.start(); await c.wait()`,
  'an attachment that has more than is taken': `
    const c = await engine.containers.create({ image, command: ${FLOOD} })
    const a = await c.attach(); await c.start(); await c.wait()`,
  'an attached terminal, and its input': `
    const c = await engine.containers.create({ image, tty: true, stdin: true, command: ['seq', '1', '50'] })
    const a = await c.attach(); await c.start(); await c.wait()`,
  'one log entry of many': `
    const c = await engine.containers.run({ image, command: ['seq', '1', '1000'] }); await c.wait()
    for await (const entry of c.logs({ follow: true })) break`,
}

describe('a program ends by itself, although it has', () => {
  it.each(Object.keys(PROGRAMS))('%s', async (name) => {
    const { root, runRoot } = test
    const source = `
      import { Engine } from ${JSON.stringify(join(checkout, 'dist/index.js'))}
      const engine = await Engine.open(${JSON.stringify({ root, runRoot })})
      const [image] = await engine.images.list()
      ${PROGRAMS[name]}
      console.log('over')`
    const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 20_000,
      killSignal: 'SIGKILL',
    })
    const ended = once(child, 'exit')
    expect(await text(child.stdout)).toBe('over\n')
    expect(await ended).toEqual([0, null])
  })
})
