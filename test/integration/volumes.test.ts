import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  Engine,
  type Container,
  type Image,
  type RunOptions,
  type VolumeDriver,
} from '../../src/index.ts'
import { busyboxFiles, testEngine, type TestEngine } from '../support/engine.ts'
import { program } from '../support/program.ts'
import { temporaryDirectory } from '../support/temp.ts'

let test: TestEngine
/** It has something at /data, belonging to user 1000. */
let filled: Image
const calls: string[] = []
const driver: VolumeDriver = {
  name: 'test',
  create: ({ name, options }) => void calls.push(`create ${name} ${options['where']}`),
  mount: ({ name, options }) => {
    calls.push(`mount ${name}`)
    return options['where'] ?? ''
  },
  unmount: ({ name }, { path }) => void calls.push(`unmount ${name} ${path}`),
  remove: ({ name }) => void calls.push(`remove ${name}`),
}
beforeAll(async () => {
  test = await testEngine({ volumeDrivers: [driver] })
  filled = await test.engine.images.from({
    ...busyboxFiles(),
    '/data': { directory: true, mode: 0o750, uid: 1000, gid: 50 },
    '/data/file': { content: Buffer.from('from the image'), mode: 0o640, uid: 1000, gid: 50 },
    '/data/suid': { content: Buffer.from('x'), mode: 0o4711 },
    '/data/link': { link: 'file' },
    '/data/sub/deep': Buffer.from('deep'),
    '/linked': { link: '/etc' },
    '/outside': { link: '../../../../..' },
  })
})
afterAll(() => test[Symbol.asyncDispose]())
afterEach(async () => {
  for (const container of await test.engine.containers.list({ all: true })) {
    await container.remove({ force: true, volumes: true })
  }
  await test.engine.volumes.prune({ all: true })
  expect(await test.engine.volumes.list()).toEqual([])
})

const sh = (script: string, options: RunOptions = {}, image = test.image) =>
  test.engine.run(image, ['sh', '-c', script], { reject: false, ...options })
const out = async (script: string, options: RunOptions = {}, image = test.image) => {
  const { stdout, stderr } = await sh(script, options, image)
  return stdout + stderr
}
const logged = async (container: Container) => {
  let text = ''
  for await (const line of container.logs()) text += `${line.text}\n`
  return text
}
const volumes = () => test.engine.volumes

describe('a volume', () => {
  it('keeps what containers write, and is made when it is first named', async () => {
    await sh('echo kept > /data/a', { mounts: ['data:/data'] })
    expect(await out('cat /data/a', { mounts: ['data:/data:ro'] })).toBe('kept\n')
    expect(await out('echo x > /data/a', { mounts: ['data:/data:ro'] })).toContain('Read-only')
    const data = await volumes().get('data')
    expect(await data.inspect()).toMatchObject({
      name: 'data',
      driver: 'local',
      path: join(test.root, 'volumes/data/data'),
      anonymous: false,
      containers: [],
    })
  })

  it('is shared by containers that run', async () => {
    const { engine, image } = test
    const mounts = ['shared:/s']
    const command = ['sh', '-c', 'until [ -e /s/go ]; do sleep 0.05; done; echo seen > /s/seen']
    await using first = await engine.containers.run({ image, command, mounts })
    await sh('touch /s/go', { mounts })
    await first.wait()
    expect(await out('cat /s/seen', { mounts })).toBe('seen\n')
  })

  it('in use, by a container that does not even run, is not removed', async () => {
    const { engine, image } = test
    const container = await engine.containers.create({ image, mounts: ['used:/u'] })
    const used = await volumes().get('used')
    const refusal = { code: 'KEELSON_VOLUME_IN_USE', containers: [container.id] }
    await expect(used.remove()).rejects.toMatchObject(refusal)
    expect((await volumes().prune({ all: true })).volumes).toEqual([])
    expect((await volumes().list({ filters: { dangling: true } })).length).toBe(0)
    await container.remove()
    await used.remove()
    await expect(volumes().get('used')).rejects.toMatchObject({ code: 'KEELSON_VOLUME_NOT_FOUND' })
    await used.remove()
  })

  it('in use by a run is not removed, and is as soon as the run has ended', async () => {
    const { engine, image } = test
    const stdin = { pipe: true } as const
    const run = engine.run(image, ['cat'], { stdin, mounts: ['busy:/b'] })
    run.stdin?.write('ready\n')
    await new Promise((resolve) => run.stdout.once('data', resolve))
    const busy = await volumes().get('busy')
    await expect(busy.remove()).rejects.toMatchObject({ code: 'KEELSON_VOLUME_IN_USE' })
    run.stdin?.end()
    await run
    await busy.remove()
  })

  it('is found by labels, name and driver, and not made twice', async () => {
    await volumes().create({ name: 'one', labels: { app: 'shop' } })
    await volumes().create({ name: 'two' })
    const names = async (filters: object) =>
      (await volumes().list({ filters })).map(({ name }) => name)
    expect(await names({})).toEqual(['two', 'one'])
    expect(await names({ label: 'app=shop' })).toEqual(['one'])
    expect(await names({ name: 'w' })).toEqual(['two'])
    expect(await names({ driver: 'test' })).toEqual([])
    await expect(volumes().create({ name: 'one' })).rejects.toMatchObject({
      code: 'KEELSON_NAME_IN_USE',
    })
    await expect(volumes().create({ name: '../one' })).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
    })
    await expect(volumes().get('../one')).rejects.toMatchObject({
      code: 'KEELSON_VOLUME_NOT_FOUND',
    })
  })
})

describe('an empty volume', () => {
  it('gets what the image has there, with owners and modes', async () => {
    const look = 'cd /data && stat -c "%n %a %u %g %F" . * && cat link'
    const before = await out(look, {}, filled)
    expect(before).toContain('. 750 1000 50 directory')
    expect(await out(look, { mounts: ['up:/data'] }, filled)).toBe(before)
    await sh('rm -r /data/*; echo mine > /data/file', { mounts: ['up:/data'] })
    expect(await out('cat /data/*', { mounts: ['up:/data'] }, filled)).toBe('mine\n')
  })

  it('stays empty where that is asked for, and where the image has no directory', async () => {
    const nocopy = { mounts: ['no:/data:nocopy'] }
    expect(await out('ls -A /data', nocopy, filled)).toBe('')
    expect(await out('ls -A /data/file/x', { mounts: ['no:/nothing'] }, filled)).toContain(
      'Not a directory',
    )
    expect(await out('ls -A /nothing', { mounts: ['no:/nothing'] }, filled)).toBe('')
  })

  it('is filled once by containers that start together', async () => {
    const runs = Array.from({ length: 6 }, () =>
      out('ls -A /data; cat /data/file', { mounts: ['race:/data'] }, filled),
    )
    const seen = new Set(await Promise.all(runs))
    expect([...seen]).toEqual(['file\nlink\nsub\nsuid\nfrom the image'])
  })

  it('is completed when a crash came between the copy and its end', async () => {
    await sh('true', { mounts: ['half:/data'] }, filled)
    const directory = join(test.root, 'volumes/half')
    await mkdir(join(directory, 'filling/rubbish'), { recursive: true })
    await mkdir(join(directory, 'filled'))
    await writeFile(join(directory, 'filled/late'), 'late')
    const files = await out('ls /data; cat /data/late', { mounts: ['half:/data'] }, filled)
    expect(files).toBe('file\nlate\nlink\nsub\nsuid\nlate')
    expect(await readdir(directory)).not.toContain('filled')
  })

  it('gets nothing of the host where a hostile image has links', async () => {
    const hostile = await test.engine.images.from({
      ...busyboxFiles(),
      '/data': { link: '/../../../../etc' },
      '/up/loop': { link: 'loop' },
    })
    expect(await out('ls /data', { mounts: ['evil:/data'] }, hostile)).not.toContain('shadow')
    // The mount itself went to where the link leads inside the image.
    expect(
      await out('ls /etc; echo got > /etc/got', { mounts: ['evil:/data'] }, hostile),
    ).toContain('passwd')
    expect(existsSync('/etc/got')).toBe(false)
    expect(await out('ls /data', { mounts: ['evil:/other'] }, hostile)).toContain('passwd')
  })
})

const part = (subpath: string) => ({
  mounts: [{ type: 'volume', source: 'parts', target: '/p', subpath } as const],
})

describe('mounts', () => {
  it('show a part of a volume, and follow its links inside of it', async () => {
    await sh(
      'mkdir -p /v/a/b; echo part > /v/a/b/file; ln -s /a/b /v/link; ln -s /../../etc /v/out',
      {
        mounts: ['parts:/v'],
      },
    )
    expect(await out('cat /p/file', part('a/b'))).toBe('part\n')
    expect(await out('cat /p', part('a/b/file'))).toBe('part\n')
    expect(await out('cat /p/file', part('link'))).toBe('part\n')
    for (const subpath of ['out', 'missing']) {
      await expect(sh('ls /p', part(subpath))).rejects.toMatchObject({
        code: 'KEELSON_MOUNT_FAILED',
      })
    }
  })

  it('of the host may be a part, too, and read-only in all that is mounted below', async () => {
    await using temp = await temporaryDirectory()
    await mkdir(temp.join('in/below'), { recursive: true })
    await writeFile(temp.join('in/file'), 'in')
    await symlink('/etc', temp.join('in/escape'))
    const bind = (subpath: string) => ({
      mounts: [{ type: 'bind', source: temp.path, target: '/b', subpath, readonly: true } as const],
    })
    expect(await out('cat /b/file; touch /b/new', bind('in'))).toMatch(/^in.*Read-only/s)
    await expect(sh('ls /b', bind('in/escape'))).rejects.toMatchObject({
      code: 'KEELSON_MOUNT_FAILED',
    })
  })

  it('lie in one another, the outer one first, in whatever order they are given', async () => {
    const mounts = ['inner:/v/a/b', { type: 'tmpfs', target: '/v/a' } as const, 'outer:/v']
    await sh('echo 1 > /v/outer; echo 2 > /v/a/tmp; echo 3 > /v/a/b/inner', { mounts })
    expect(await out('ls -A /v /v/a', { mounts: ['outer:/v'] })).toBe('/v:\na\nouter\n\n/v/a:\n')
    expect(await out('ls /v', { mounts: ['inner:/v'] })).toBe('inner\n')
  })

  it('do not leave the container by a link of its image', async () => {
    const mounts = ['way:/outside/var/made']
    await sh('echo x > /var/made/file', { mounts }, filled)
    expect(existsSync('/var/made')).toBe(false)
    expect(await out('cat /v/file', { mounts: ['way:/v'] })).toBe('x\n')
  })

  it('show another image, or a part of it, that cannot be written', async () => {
    const mount = { type: 'image', source: filled, target: '/i' } as const
    expect(await out('cat /i/data/file; touch /i/x', { mounts: [mount] })).toMatch(
      /^from the image.*Read-only/s,
    )
    const inside = { ...mount, subpath: 'data' }
    expect(await out('cat /i/file; ls /i', { mounts: [inside] })).toContain('from the image')
    const outside = { ...mount, subpath: 'outside/data' }
    expect(await out('cat /i/file', { mounts: [outside] })).toBe('from the image')
  })

  it('keep the image that a container has mounted', async () => {
    const { engine, image } = test
    const extra = await engine.images.from({ '/file': Buffer.from('extra') })
    const mounts = [{ type: 'image', source: extra, target: '/i' } as const]
    await using container = await engine.containers.create({
      image,
      command: ['cat', '/i/file'],
      mounts,
    })
    await expect(extra.remove()).rejects.toMatchObject({ code: 'KEELSON_IMAGE_IN_USE' })
    await container.start()
    await container.wait()
    expect(await logged(container)).toContain('extra')
  })

  it('in memory have the owner that is asked for', async () => {
    const mounts = [
      { type: 'tmpfs', target: '/m', size: '1m', mode: 0o700, uid: 1000, gid: 50 } as const,
    ]
    expect(await out('stat -c "%a %u %g" /m', { mounts })).toBe('700 1000 50\n')
  })
})

describe('a writable layer in memory', () => {
  it('holds what is written, is like the image, and goes with the program', async () => {
    const storage = { size: '8m' } as const
    expect(
      await out('stat -c "%a %u" /; echo a > /a; cat /a /data/file', { storage }, filled),
    ).toBe('755 0\na\nfrom the image')
    const full = await out('dd if=/dev/zero of=/big bs=1M count=16; ls', { storage }, filled)
    expect(full).toContain('No space left')
    const left = await readdir(join(test.root, 'snapshots/overlay/containers'))
    expect(left).toEqual([])
  })

  it('begins anew with each start, and its files are reached while it runs', async () => {
    const { engine, image } = test
    const command = ['sh', '-c', 'ls /; touch /seen; sleep 1000']
    await using container = await engine.containers.create({ image, command, storage: 'tmpfs' })
    await expect(container.files.writeFile('/early', 'x')).rejects.toMatchObject({
      code: 'KEELSON_CONTAINER_STATE',
    })
    for (let start = 0; start < 2; start++) {
      await container.start()
      await container.exec(['sh', '-c', 'until [ -e /seen ]; do sleep 0.05; done'])
      await container.files.writeFile('/while', 'x')
      await container.stop({ timeout: 0 })
    }
    expect(await logged(container)).not.toContain('seen')
    await expect(container.diff()).rejects.toMatchObject({ code: 'KEELSON_UNSUPPORTED' })
  })
})

describe('export, import and clone', () => {
  it('back a volume up and restore it', async () => {
    await sh('true', { mounts: ['from:/data'] }, filled)
    const from = await volumes().get('from')
    const archive = await buffer(from.export())
    const to = await volumes().create({ name: 'to' })
    await to.import(archive)
    const look = 'cd /v && stat -c "%n %a %u %g %F %Y" . * sub/* && cat file'
    const before = await out(look, { mounts: ['from:/v'] })
    expect(before).toContain('suid 4711 0 0')
    expect(await out(look, { mounts: ['to:/v'] })).toBe(before)
    const copy = await from.clone('copy')
    expect(await out(look, { mounts: ['copy:/v'] })).toBe(before)
    await sh('echo changed > /v/file', { mounts: ['copy:/v'] })
    expect(await out('cat /v/file', { mounts: ['from:/v'] })).toBe('from the image')
    expect((await copy.size()).inodes).toBe(6)
    await expect(from.clone('to')).rejects.toMatchObject({ code: 'KEELSON_NAME_IN_USE' })
    await expect(to.import(Buffer.from('no archive'))).rejects.toMatchObject({
      code: 'KEELSON_ARCHIVE_INVALID',
    })
    await copy.remove()
    await expect(buffer(copy.export())).rejects.toMatchObject({ code: 'KEELSON_VOLUME_NOT_FOUND' })
    await expect(copy.clone('again')).rejects.toMatchObject({ code: 'KEELSON_VOLUME_NOT_FOUND' })
  })

  it('are counted in what the engine takes on the disk', async () => {
    await sh('dd if=/dev/zero of=/v/file bs=1M count=2', { mounts: ['sized:/v'] })
    const usage = await test.engine.df()
    const [item] = usage.volumes.items
    expect(item?.name).toBe('sized')
    expect(item?.bytes).toBeGreaterThan(2 * 1024 * 1024)
    expect(usage.volumes.bytes).toBe(item?.bytes)
    expect(usage.images.layers).toBeGreaterThan(0)
    expect(usage.bytes).toBeGreaterThan(usage.volumes.bytes)
  })
})

describe('a volume without a name', () => {
  it('goes with a run, and with a container that is removed with its volumes', async () => {
    const { engine, image } = test
    await sh('echo x > /anonymous/x', { mounts: ['/anonymous'] })
    const container = await engine.containers.create({ image, mounts: ['/anonymous'] })
    const [volume] = await volumes().list({ filters: { label: 'com.docker.volume.anonymous' } })
    expect(volume?.name).toMatch(/^[0-9a-f]{64}$/)
    expect(await volume?.inspect()).toMatchObject({ anonymous: true, containers: [container.id] })
    const { mounts } = await container.inspect()
    expect(mounts).toMatchObject([{ type: 'volume', source: volume?.name, anonymous: true }])
    await container.remove({ volumes: true })
    await expect.poll(() => volumes().list()).toEqual([])
  })

  it('stays when the container is removed without, until it is pruned', async () => {
    const { engine, image } = test
    const container = await engine.containers.create({ image, mounts: ['/anonymous'] })
    await volumes().create({ name: 'named' })
    await container.remove()
    const [volume] = await volumes().list({ filters: { dangling: true, label: [] } })
    expect(volume).toBeDefined()
    const { volumes: pruned } = await volumes().prune()
    expect(pruned).toHaveLength(1)
    expect(pruned[0]).toMatch(/^[0-9a-f]{64}$/)
  })

  it('goes with a container that removes itself', async () => {
    const { engine, image } = test
    const mounts = ['/anonymous']
    const container = await engine.containers.run({
      image,
      command: ['true'],
      mounts,
      autoRemove: true,
    })
    await container.wait({ condition: 'removed' })
    await expect.poll(() => volumes().list(), { timeout: 10_000 }).toEqual([])
  })

  it('is what an image declares, filled with what it has there', async () => {
    const { engine } = test
    const declaring = await engine.images.from(
      { ...busyboxFiles(), '/var/lib/db/seed': Buffer.from('seed') },
      { Cmd: ['sh'], Volumes: { '/var/lib/db': {}, '/proc': {}, '/dev/x': {} } },
    )
    await using container = await engine.containers.run({
      image: declaring,
      command: ['sleep', '1000'],
    })
    const { stdout } = await container.exec(['cat', '/var/lib/db/seed', '/proc/mounts'])
    expect(stdout).toMatch(/^seed.* \/var\/lib\/db /s)
    expect(stdout).toMatch(/^proc \/proc proc /m)
    expect(await volumes().list()).toHaveLength(1)
    const memory = await out('grep -c /var/lib/db /proc/mounts', { storage: 'tmpfs' }, declaring)
    expect(memory).toBe('0\n')
    const named = { mounts: ['named-db:/var/lib/db'] }
    expect(await out('cat /var/lib/db/seed', named, declaring)).toBe('seed')
    expect(await volumes().list()).toHaveLength(2)
  })
})

describe('drivers', () => {
  it('local mounts what its options say in the container', async () => {
    await volumes().create({
      name: 'memory',
      options: { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,mode=700,noexec' },
    })
    const mounts = ['memory:/m:ro']
    const seen = await out('stat -c %a /m; grep " /m " /proc/mounts', { mounts })
    expect(seen).toMatch(/^700\ntmpfs \/m tmpfs ro,.*noexec.*size=1024k/)
    const memory = await volumes().get('memory')
    expect(() => memory.export()).toThrow(expect.objectContaining({ code: 'KEELSON_UNSUPPORTED' }))
    await using temp = await temporaryDirectory()
    await writeFile(temp.join('file'), 'bound')
    await volumes().create({
      name: 'bound',
      options: { type: 'none', device: temp.path, o: 'bind' },
    })
    expect(await out('cat /b/file', { mounts: ['bound:/b'] })).toBe('bound')
    await expect(
      volumes().create({ name: 'half', options: { type: 'nfs' } }),
    ).rejects.toMatchObject({ code: 'KEELSON_INVALID_OPTION' })
  })

  it('in JavaScript mount before a container is made and unmount when it is gone', async () => {
    await using temp = await temporaryDirectory()
    await writeFile(temp.join('file'), 'driven')
    const where = { where: temp.path }
    await volumes().create({ name: 'driven', driver: 'test', options: where })
    expect(await out('cat /d/file', { mounts: ['driven:/d'] })).toBe('driven')
    const { engine, image } = test
    const mounts = ['driven:/d']
    const container = await engine.containers.create({ image, command: ['cat', '/d/file'], mounts })
    await container.start()
    expect(await container.wait()).toMatchObject({ exitCode: 0 })
    await container.remove()
    await expect(engine.containers.create({ image, mounts, detached: true })).rejects.toMatchObject(
      { code: 'KEELSON_INVALID_OPTION' },
    )
    await expect
      .poll(() => calls.filter((call) => call.startsWith('unmount')).length)
      .toBe(calls.filter((call) => call.startsWith('mount')).length)
    await (await volumes().get('driven')).remove()
    expect(calls[0]).toBe(`create driven ${temp.path}`)
    expect(calls.at(-1)).toBe('remove driven')
    await expect(volumes().create({ driver: 'none' })).rejects.toMatchObject({
      code: 'KEELSON_VOLUME_DRIVER',
    })
  })
})

describe('after a crash', () => {
  it('the next engine removes half volumes, and those of containers that are gone', async () => {
    await using own = await testEngine()
    const { root, runRoot } = own
    const killed = await program({ root, runRoot })
    const count = await killed.ask(`
      const mounts = ['named:/n', '/anonymous']
      await engine.containers.run({ image, command: ['sleep', '1000'], mounts })
      engine.run(image, ['sleep', '1000'], { mounts }).catch(() => {})
      const pause = () => new Promise((resolve) => setTimeout(resolve, 20))
      while ((await engine.volumes.list()).length < 3) await pause()
      say((await engine.volumes.list()).length)
    `)
    expect(count).toBe(3)
    await killed.kill()
    await mkdir(join(root, 'volumes/.x.0123.creating/data'), { recursive: true })
    await mkdir(join(root, 'volumes/.named.0123.removing/data'), { recursive: true })
    await using engine = await Engine.open({ root, runRoot })
    const left = await engine.volumes.list()
    expect(left.map(({ name }) => name)).toEqual(['named'])
    expect(await readdir(join(root, 'volumes'))).toEqual(['named'])
    expect(await readdir(join(root, 'volumes/named/users'))).toEqual([])
    await left[0]?.remove()
    expect(await readdir(join(root, 'volumes'))).toEqual([])
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(root)
  })
})
