import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Engine } from '../../src/index.ts'
import { testEngine } from '../support/engine.ts'
import { program } from '../support/program.ts'

const coded = (code: string, fields: object = {}) => expect.objectContaining({ code, ...fields })
const SLEEP = `command: ['sleep', '1000'], image`

describe('two programs on one root', () => {
  it('see and change the same containers', async () => {
    await using own = await testEngine()
    await using other = await program(own)
    const { containers } = own.engine
    const pid = await other.ask(
      `const c = await engine.containers.run({ name: 'shared', ${SLEEP} }); say((await c.state()).pid)`,
    )
    const shared = await containers.get('shared')
    expect(await shared.state()).toMatchObject({ status: 'running', pid })
    await expect(
      containers.create({ image: own.image, command: ['true'], name: 'shared' }),
    ).rejects.toEqual(coded('KEELSON_NAME_IN_USE'))
    const ended = other.ask(`say(await (await engine.containers.get('shared')).wait())`)
    await shared.pause()
    await shared.unpause()
    await shared.kill()
    expect(await ended).toMatchObject({ signal: 'SIGKILL' })
    const waiting = shared.wait({ condition: 'next-exit' })
    await other.ask(`const c = await engine.containers.get('shared'); await c.start(); say(1)`)
    await other.ask(
      `const c = await engine.containers.get('shared'); await c.stop({ timeout: 0 }); say(1)`,
    )
    expect(await waiting).toMatchObject({ signal: 'SIGKILL' })
    await shared.rename('moved')
    const found = await other.ask(`say((await engine.containers.get('moved')).name)`)
    expect(found).toBe('moved')
  })

  it('may remove a container at once, and a name has one owner', async () => {
    await using own = await testEngine()
    await using other = await program(own)
    for (let round = 0; round < 5; round++) {
      const container = await own.engine.containers.run({
        image: own.image,
        command: ['sleep', '1000'],
        name: 'contested',
      })
      const removed = container.wait({ condition: 'removed' })
      await Promise.all([
        container.remove({ force: true }),
        other.ask(
          `const c = await engine.containers.get('${container.id}').catch(() => undefined); await c?.remove({ force: true }); say(1)`,
        ),
      ])
      await removed
      const claims = await Promise.allSettled([
        own.engine.containers.create({ image: own.image, command: ['true'], name: 'one' }),
        other.ask(`await engine.containers.create({ name: 'one', ${SLEEP} }); say(1)`),
      ])
      expect(claims.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      await (await own.engine.containers.get('one')).remove()
    }
  })

  it('hear the same events', async () => {
    await using own = await testEngine()
    await using other = await program(own)
    const live = own.engine.events()
    await other.ask(
      `const c = await engine.containers.run({ name: 'heard', ${SLEEP} }); await c.kill(); await c.remove(); say(1)`,
    )
    const types: string[] = []
    for await (const event of live) {
      types.push(`${'name' in event ? event.name : ''} ${event.type}`)
      if (event.type === 'container.remove') break
    }
    expect(types).toEqual(
      ['create', 'start', 'exit', 'kill', 'remove'].map((type) => `heard container.${type}`),
    )
  })
})

describe('after the program was killed', () => {
  it('a bound container is gone, a detached one goes on and is found again', async () => {
    await using own = await testEngine()
    const killed = await program(own)
    const [bound, kept, idle] = (await killed.ask(
      `const run = (options) => engine.containers.run({ ${SLEEP}, ...options })
       const bound = await run({ name: 'bound' })
       const kept = await run({ name: 'kept', detached: true, command: ['sh', '-c', 'while :; do echo alive; sleep 0.05; done'] })
       const idle = await engine.containers.create({ name: 'idle', ${SLEEP} })
       say([(await bound.state()).pid, (await kept.state()).pid, idle.id])`,
    )) as [number, number, string]
    await killed.kill()
    await gone(bound)
    await using next = await Engine.open({ root: own.root, runRoot: own.runRoot })
    await expect(next.containers.get('bound')).rejects.toEqual(coded('KEELSON_CONTAINER_NOT_FOUND'))
    await expect(next.containers.get(idle)).rejects.toEqual(coded('KEELSON_CONTAINER_NOT_FOUND'))
    const again = await next.containers.get('kept')
    expect(again.detached).toBe(true)
    expect(await again.state()).toMatchObject({ status: 'running', pid: kept })
    await again.pause()
    await again.unpause()
    await again.stop({ timeout: 0 })
    expect(await again.state()).toMatchObject({ status: 'exited', signal: 'SIGKILL' })
    await again.remove()
    await expect.poll(() => leftovers(own)).toEqual([])
  })

  it('a detached container tells by whom it was ended while nobody looked', async () => {
    await using own = await testEngine()
    const killed = await program(own)
    const id = (await killed.ask(
      `const c = await engine.containers.run({ image, command: ['sh', '-c', 'read line; exit 7'], stdin: true, detached: true, name: 'alone' })
       say(c.id)`,
    )) as string
    const { pid } = JSON.parse(
      await readFile(join(own.root, 'containers', id, 'state.json'), 'utf8'),
    ) as { pid: number }
    await killed.kill()
    const since = new Date()
    process.kill(pid, 'SIGKILL')
    await gone(pid)
    await using next = await Engine.open({ root: own.root, runRoot: own.runRoot })
    const container = await next.containers.get('alone')
    expect(await container.wait()).toMatchObject({ signal: 'SIGKILL' })
    const events: string[] = []
    for await (const { type } of next.events({ since, until: new Date() })) events.push(type)
    expect(events).toContain('container.exit')
    await container.remove()
  })
})

describe('after a monitor was killed', () => {
  it('its container has ended, and can be started again', async () => {
    await using own = await testEngine()
    const container = await own.engine.containers.run({
      image: own.image,
      command: ['sleep', '1000'],
      detached: true,
    })
    const { pid } = await container.state()
    const monitor = await monitorOf(own.root, container.id)
    const ended = container.wait()
    process.kill(monitor, 'SIGKILL')
    expect(await ended).toMatchObject({ exitCode: null, signal: 'SIGKILL' })
    await gone(pid)
    expect((await container.state()).error).toMatch(/monitor/)
    await container.start()
    expect(await container.status()).toBe('running')
    await container.remove({ force: true })
  })
})

describe('after the host was started anew', () => {
  it('detached containers run again as their policies want it', async () => {
    await using own = await testEngine()
    const ids: string[] = []
    const run = async (name: string, restart: string) => {
      const options = { image: own.image, command: ['sleep', '1000'], detached: true }
      const container = await own.engine.containers.run({ ...options, name, restart })
      ids.push(container.id)
      return container
    }
    await run('no', 'no')
    await run('on-failure', 'on-failure')
    await run('always', 'always')
    await run('unless', 'unless-stopped')
    await (await run('always-stopped', 'always')).stop({ timeout: 0 })
    await (await run('unless-stopped', 'unless-stopped')).stop({ timeout: 0 })
    // What a reboot does: every process is gone, and all that is on tmpfs.
    const running = ids.slice(0, 4)
    const monitors = await Promise.all(running.map((id) => monitorOf(own.root, id)))
    await own.engine.close()
    for (const pid of monitors) process.kill(pid, 'SIGKILL')
    await Promise.all(monitors.map(gone))
    await rm(own.runRoot, { recursive: true, force: true })
    await using next = await Engine.open({ root: own.root, runRoot: own.runRoot })
    const states = await Promise.all(
      (await next.containers.list({ all: true })).map(async (container) => [
        container.name,
        await container.status(),
      ]),
    )
    expect(Object.fromEntries(states)).toEqual({
      no: 'exited',
      'on-failure': 'running',
      always: 'running',
      unless: 'running',
      'always-stopped': 'running',
      'unless-stopped': 'exited',
    })
    for (const container of await next.containers.list({ all: true })) {
      await container.remove({ force: true })
    }
  })
})

describe('what a crash left half done', () => {
  it('is finished or undone when an engine opens', async () => {
    await using own = await testEngine()
    const { root, runRoot } = own
    const records = join(root, 'containers')
    const half = 'a'.repeat(64)
    const dead = JSON.stringify({ id: half, engine: join(runRoot, 'engines', 'dead') })
    await mkdir(join(records, `.${half}.creating`))
    await writeFile(join(records, `.${half}.creating`, 'name'), dead)
    await writeFile(join(records, 'names', 'half-made'), dead)
    const layers = join(root, 'snapshots', 'overlay', 'containers')
    await mkdir(join(layers, half, 'upper'), { recursive: true })
    const removed = await own.engine.containers.create({
      image: own.image,
      command: ['true'],
      detached: true,
      name: 'half-removed',
    })
    await own.engine.close()
    // Killed between the rename and the removal of what is below.
    await rename(join(records, removed.id), join(records, `.${removed.id}.removing`))
    await using next = await Engine.open({ root, runRoot })
    const [image] = await next.images.list()
    const options = { image: image ?? '', command: ['true'] }
    await using one = await next.containers.create({ ...options, name: 'half-made' })
    await using two = await next.containers.create({ ...options, name: 'half-removed' })
    expect([one.name, two.name]).toEqual(['half-made', 'half-removed'])
    await expect.poll(() => readdir(layers)).toEqual([])
    await expect
      .poll(async () => (await readdir(records)).filter((name) => name.startsWith('.')))
      .toEqual([])
  })
})

it('50 containers start and are removed at once', async () => {
  await using own = await testEngine()
  const options = { image: own.image, command: ['sleep', '1000'] }
  const started = await Promise.all(
    Array.from({ length: 50 }, () => own.engine.containers.run(options)),
  )
  expect(new Set(started.map(({ name }) => name)).size).toBe(50)
  expect(await own.engine.containers.list()).toHaveLength(50)
  await Promise.all(started.map((container) => container.remove({ force: true })))
  expect(await own.engine.containers.list({ all: true })).toEqual([])
  await own.engine.close()
  expect(await leftovers(own)).toEqual([])
})

async function monitorOf(root: string, id: string): Promise<number> {
  const text = await readFile(join(root, 'containers', id, 'state.json'), 'utf8')
  return (JSON.parse(text) as { monitor: number }).monitor
}

const list = (path: string) => readdir(path).catch(() => [])

/** What is left of containers, of names, and of writable layers. */
async function leftovers({ root, runRoot }: { root: string; runRoot: string }): Promise<string[]> {
  const layers = join(root, 'snapshots', 'overlay')
  const writable = await list(join(layers, 'writable'))
  return [
    ...(await list(join(root, 'containers'))).filter((name) => /[0-9a-f]{64}/.test(name)),
    ...(await list(join(root, 'containers', 'names'))),
    ...(await list(join(runRoot, 'containers'))),
    ...(await list(join(layers, 'containers'))),
    ...(await Promise.all(writable.map((engine) => list(join(layers, 'writable', engine)))))
      .flat()
      .filter((name) => name !== 'lock'),
  ]
}

/** The kernel tells when a process is gone. */
async function gone(pid: number): Promise<void> {
  if ((await stat(`/proc/${pid}`).catch(() => undefined)) === undefined) return
  const waiter = spawn('tail', [`--pid=${pid}`, '-f', '/dev/null'])
  await once(waiter, 'exit')
}
