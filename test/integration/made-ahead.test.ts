import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { testEngine, type TestEngine } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await testEngine({ snapshotter: 'overlay' })
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

const sh = (image: TestEngine['image'], script: string) =>
  test.engine.run(image, ['sh', '-c', script])

/** Writable layers that were made and are not used. */
async function spares(): Promise<string[]> {
  const writable = join(test.root, 'snapshots/overlay/writable')
  const layers = await Promise.all(
    (await readdir(writable)).map((engine) => readdir(join(writable, engine))),
  )
  return layers.flat().filter((name) => name.startsWith('spare-'))
}

describe('what is made ahead of a run', () => {
  it('is used once: nothing of one container is in the next', async () => {
    const seen = new Set<string>()
    for (let n = 0; n < 10; n++) {
      const { stdout } = await sh(
        test.image,
        'ls /mark 2>&1; touch /mark; ls /proc/self/ns -l | grep net; hostname x 2>/dev/null; cat /proc/net/dev | wc -l',
      )
      expect(stdout).toContain('No such file')
      seen.add(/net:\[\d+\]/.exec(stdout)?.[0] ?? '')
      await vi.waitFor(async () => expect(await spares()).toHaveLength(n < 1 ? 0 : 1))
    }
    // A number comes again only when the kernel has let go of the namespace that had it.
    expect(seen.size).toBeGreaterThan(1)
  })

  it('has the loopback interface up, and nothing else', async () => {
    const { stdout } = await sh(
      test.image,
      'cat /proc/net/dev | grep -v "|"; cat /proc/net/if_inet6',
    )
    expect(stdout.match(/^ *\w+:/gm)?.map((name) => name.trim())).toEqual(['lo:'])
    expect(stdout).toContain('00000000000000000000000000000001')
  })

  it('is not taken for an image that was removed and made again', async () => {
    const make = (text: string) =>
      test.engine.images.from({ '/bin/busybox': '/bin/busybox', '/text': Buffer.from(text) })
    const first = await make('same')
    const read = (image: TestEngine['image']) =>
      test.engine.run(image, ['/bin/busybox', 'cat', '/text'])
    await read(first)
    await read(first)
    await vi.waitFor(async () => expect(await spares()).toHaveLength(1))
    await first.remove({ force: true })
    await test.engine.images.prune({ all: true })
    const again = await make('same')
    expect(again.id).toBe(first.id)
    expect((await read(again)).stdout).toBe('same')
  })

  it('is gone with the engine', async () => {
    await test.engine.close()
    expect(await spares()).toEqual([])
  })
})
