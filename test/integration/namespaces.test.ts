import { readFile, readlink, stat } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CreateOptions } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await testEngine()
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

const run = (options: Partial<CreateOptions> = {}) =>
  test.engine.containers.run({ image: test.image, command: ['sleep', '1000'], ...options })

describe('a', () => {
  it('auto', async () => {
    await using c = await run({ userns: 'auto' })
    const { state, userMappings } = await c.inspect()
    console.log(userMappings, (await readFile(`/proc/${state.pid}/status`, 'utf8')).match(/Uid.*/)![0])
    console.log((await c.exec(['sh', '-c', 'id; ls -ln / /dev; echo hi > /f; ls -ln /f; mount; cat /proc/self/uid_map'])).stdout)
    console.log((await stat(`/proc/${state.pid}/root/f`)).uid)
  })
  it('join', async () => {
    await using a = await run({ name: 'aaa' })
    await using b = await run({ pid: 'container:aaa', ipc: { container: a }, uts: { container: 'aaa' }, networks: { container: a.id } })
    console.log((await b.exec(['sh', '-c', 'ps; hostname; cat /etc/hosts; mount | grep shm'])).stdout)
  })
})
