import { chmod, lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Container, CreateOptions } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'
import { tar } from '../support/layers.ts'
import { run } from '../support/process.ts'
import { root as checkout } from '../support/repository.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { testUser } from '../support/user.ts'

const coded = (code: string) => expect.objectContaining({ code })

/** Names of an archive, as GNU tar reads it. */
async function listed(archive: Buffer): Promise<string[]> {
  const { stdout } = await run('tar', ['-tf', '-', '--quoting-style=literal'], { input: archive })
  return stdout.split('\n').filter((line) => line !== '')
}

describe.each(['overlay', 'copy'] as const)(
  'files of containers, with the %s driver',
  (snapshotter) => {
    let test: TestEngine
    beforeAll(async () => {
      test = await testEngine({ snapshotter })
    })
    afterAll(async () => await test?.[Symbol.asyncDispose]())

    const create = (options: Partial<CreateOptions> = {}) =>
      test.engine.containers.create({ image: test.image, command: ['sleep', '1000'], ...options })

    describe.each(['running', 'stopped', 'created'] as const)('of a %s one', (state) => {
      let container: Container
      beforeAll(async () => {
        container = await create()
        await container.start()
        if (state === 'stopped') await container.kill()
      })
      afterAll(async () => await container?.[Symbol.asyncDispose]())

      it('are written, read, listed and removed', async () => {
        const { files } = container
        await files.mkdir('/srv/a/b', { recursive: true, uid: 1000, mode: 0o750 })
        await files.writeFile('/srv/a/b/text', 'grüße', { uid: 1000, gid: 50, mode: 0o600 })
        await files.writeFile('/srv/a/b/text', '!', { flag: 'a' })
        expect(await files.readFile('/srv/a/b/text', 'utf8')).toBe('grüße!')
        expect(await files.readFile('/srv/a/b/text')).toEqual(Buffer.from('grüße!'))
        expect(await files.stat('/srv/a/b/text')).toMatchObject({
          type: 'file',
          mode: 0o600,
          uid: 1000,
          gid: 50,
          size: 8,
        })
        expect(await files.stat('/srv/a')).toMatchObject({
          type: 'directory',
          mode: 0o750,
          uid: 1000,
        })
        expect(await files.readdir('/srv/a/b')).toEqual(['text'])
        const [entry] = await files.readdir('/srv/a', { withFileTypes: true })
        expect(entry).toMatchObject({ name: 'b', type: 'directory' })
        expect(await files.readlink('/bin/sh')).toBe('busybox')
        expect((await files.stat('/bin/sh')).isFile()).toBe(true)
        expect((await files.lstat('/bin/sh')).isSymbolicLink()).toBe(true)
        await files.rm('/srv/a', { recursive: true })
        await files.rm('/srv/a', { force: true })
        expect(await files.readdir('/srv')).toEqual([])
      })

      it('have names of any bytes', async () => {
        const name = Buffer.from([0x2f, 0x74, 0x6d, 0x70, 0x2f, 0x0a, 0xff])
        await container.files.writeFile(name, 'x')
        const entries = await container.files.readdir('/tmp', { withFileTypes: true })
        expect(entries.map(({ nameBytes }) => nameBytes)).toContainEqual(name.subarray(5))
        expect(await container.files.readFile(name, 'utf8')).toBe('x')
        await container.files.rm(name)
      })

      it('are as large as may be, and empty', async () => {
        const large = Buffer.alloc(20 * 1024 * 1024, 'large ')
        await container.files.writeFile(
          '/tmp/large',
          Readable.from([large.subarray(0, 7), large.subarray(7)]),
        )
        expect((await container.files.readFile('/tmp/large')).equals(large)).toBe(true)
        await container.files.writeFile('/tmp/large', Readable.from([]))
        expect(await buffer(container.files.createReadStream('/tmp/large'))).toHaveLength(0)
      })

      it('fail by name', async () => {
        const { files } = container
        await expect(files.readFile('/none')).rejects.toEqual(coded('KEELSON_FILE_NOT_FOUND'))
        await expect(files.readFile('/etc')).rejects.toEqual(coded('KEELSON_IS_A_DIRECTORY'))
        await expect(files.readFile('/etc/passwd/x')).rejects.toEqual(
          coded('KEELSON_NOT_A_DIRECTORY'),
        )
        await expect(files.writeFile('/etc/passwd', '', { flag: 'wx' })).rejects.toEqual(
          coded('KEELSON_FILE_EXISTS'),
        )
        await expect(files.writeFile('/none/x', '')).rejects.toEqual(
          coded('KEELSON_FILE_NOT_FOUND'),
        )
        await expect(files.mkdir('/etc')).rejects.toEqual(coded('KEELSON_FILE_EXISTS'))
        await expect(files.rm('/etc')).rejects.toEqual(coded('KEELSON_IS_A_DIRECTORY'))
        await expect(files.rm('/', { recursive: true })).rejects.toEqual(
          coded('KEELSON_FILE_EXISTS'),
        )
        await expect(files.readdir('/etc/passwd')).rejects.toEqual(coded('KEELSON_NOT_A_DIRECTORY'))
        await expect(files.readFile('')).rejects.toEqual(coded('KEELSON_INVALID_OPTION'))
        await expect(buffer(container.copyOut('/none'))).rejects.toEqual(
          coded('KEELSON_FILE_NOT_FOUND'),
        )
        await expect(container.copyIn('/no/such/thing', '/tmp')).rejects.toEqual(
          coded('KEELSON_FILE_NOT_FOUND'),
        )
        await expect(container.copyIn(Buffer.from('no archive at all'), '/tmp')).rejects.toEqual(
          coded('KEELSON_ARCHIVE_INVALID'),
        )
        const aborted = AbortSignal.abort()
        await expect(files.readFile('/etc/passwd', { signal: aborted })).rejects.toEqual(
          coded('KEELSON_ABORTED'),
        )
      })

      it('are copied in and out as docker cp does', async () => {
        await using temp = await temporaryDirectory()
        await mkdir(temp.join('dir/sub'), { recursive: true })
        await writeFile(temp.join('dir/sub/f'), 'content')
        await symlink('f', temp.join('dir/sub/l'))
        await chmod(temp.join('dir/sub/f'), 0o755)
        // Into a directory that is there, as a new name, and what is in it.
        await container.copyIn(temp.join('dir'), '/tmp')
        await container.copyIn(temp.join('dir'), '/tmp/new', { uid: 1000, gid: 1000 })
        await container.copyIn(`${temp.join('dir')}/.`, '/tmp/new')
        await container.copyIn(temp.join('dir/sub/f'), '/tmp/renamed')
        const { files } = container
        expect(await files.readFile('/tmp/dir/sub/f', 'utf8')).toBe('content')
        expect(await files.stat('/tmp/dir/sub/f')).toMatchObject({ mode: 0o755, uid: 0, gid: 0 })
        expect(await files.readlink('/tmp/new/sub/l')).toBe('f')
        expect(await files.readFile('/tmp/renamed', 'utf8')).toBe('content')
        await expect(container.copyIn(temp.join('dir'), '/tmp/renamed')).rejects.toEqual(
          coded('KEELSON_NOT_A_DIRECTORY'),
        )
        // Out: a tar under its own name, what is in it, and onto the host.
        expect(await listed(await buffer(container.copyOut('/tmp/dir')))).toEqual([
          'dir/',
          'dir/sub/',
          'dir/sub/f',
          'dir/sub/l',
        ])
        expect(await listed(await buffer(container.copyOut('/tmp/dir/.')))).toEqual([
          './',
          'sub/',
          'sub/f',
          'sub/l',
        ])
        await container.copyOut('/tmp/dir', temp.join('out'))
        await container.copyOut('/tmp/dir', temp.path)
        await container.copyOut('/tmp/dir/sub/f', temp.join('file'))
        expect(await readdir(temp.join('out'))).toEqual(['sub'])
        expect(await readFile(temp.join('dir/sub/f'), 'utf8')).toBe('content')
        expect(await readFile(temp.join('file'), 'utf8')).toBe('content')
      })

      it('are copied from archives and values, with owner and mode', async () => {
        const archive = tar([
          { name: 'd/', type: '5', mode: 0o755 },
          { name: 'd/f', content: 'x', uid: 7, gid: 8, mode: 0o4755 },
        ])
        const { files } = container
        await container.copyIn(archive, '/tmp/archive')
        expect(await files.stat('/tmp/archive/d/f')).toMatchObject({ uid: 7, gid: 8, mode: 0o4755 })
        await container.copyIn(
          Readable.from([archive.subarray(0, 100), archive.subarray(100)]),
          '/tmp/archive',
          { uid: 1, mode: 0o640 },
        )
        expect(await files.stat('/tmp/archive/d/f')).toMatchObject({ uid: 1, gid: 8, mode: 0o640 })
        expect(await files.stat('/tmp/archive/d')).toMatchObject({ uid: 1, mode: 0o750 })
        await container.copyIn(
          { 'etc/app.json': { content: '{}', mode: 0o600 }, 'bin/x': Buffer.from('x') },
          '/tmp/values',
        )
        expect(await files.readFile('/tmp/values/etc/app.json', 'utf8')).toBe('{}')
        expect(await files.stat('/tmp/values/etc/app.json')).toMatchObject({ mode: 0o600 })
      })
    })

    it('tell what a container changed, and not what was mounted', async () => {
      const script =
        'echo x > /new; echo y >> /etc/plain; rm /etc/group; mkdir /d; touch /d/f; rm -r /home; mkdir /home; touch /home/other; touch /mnt/data/x'
      await using temp = await temporaryDirectory()
      await mkdir(temp.join('volume'))
      await using container = await create({
        command: ['sh', '-c', script],
        mounts: [{ type: 'bind', source: temp.join('volume'), target: '/mnt/data' }],
      })
      await container.start()
      await container.wait()
      const changes = await container.diff()
      expect(changes.map(({ kind, path, type }) => `${kind} ${path} ${type}`)).toEqual([
        'added /d directory',
        'added /d/f file',
        'changed /etc directory',
        'deleted /etc/group file',
        'changed /etc/plain file',
        'changed /home directory',
        'added /home/other file',
        'deleted /home/user directory',
        'added /new file',
      ])
    })

    it('are committed to an image that runs', async () => {
      await using container = await create({
        command: ['sh', '-c', 'echo made > /made; rm /etc/group; chmod 700 /tmp; sleep 1000'],
        env: { FROM: 'container' },
      })
      await container.start()
      await expect.poll(() => container.files.stat('/tmp').then(({ mode }) => mode)).toBe(0o700)
      const image = await container.commit({
        reference: 'committed:1',
        author: 'me',
        message: 'by hand',
        changes: {
          Cmd: ['sh', '-c', 'cat /made; echo $FROM; ls /etc; stat -c %a /tmp'],
          Labels: { a: 'b' },
        },
        compression: 'gzip',
      })
      expect(image.references).toEqual(['docker.io/library/committed:1'])
      expect(image.config.config).toMatchObject({ Env: ['FROM=container'], Labels: { a: 'b' } })
      expect((await image.history()).at(-1)).toMatchObject({ author: 'me', comment: 'by hand' })
      const { stdout } = await test.engine.run('committed:1')
      expect(stdout).toMatch(/^made\ncontainer\n/)
      expect(stdout).not.toContain('group')
      expect(stdout).toContain('passwd')
      expect(stdout.trimEnd().endsWith('700')).toBe(true)
      expect(await container.status()).toBe('running')
      expect(await image.files().readFile('/made', 'utf8')).toBe('made\n')
      await image.remove()
    })

    it('are exported whole', async () => {
      await using container = await create({ command: ['sh', '-c', 'echo x > /made; sleep 1000'] })
      await container.start()
      await expect.poll(() => container.files.readFile('/made', 'utf8').catch(() => '')).toBe('x\n')
      const names = await listed(await buffer(container.export()))
      expect(names).toEqual(expect.arrayContaining(['./', 'bin/busybox', 'made', 'proc/']))
      expect(names.filter((name) => name.startsWith('proc/'))).toEqual(['proc/'])
    })

    it('of images are read without running anything', async () => {
      const files = test.image.files()
      expect(await files.readFile('/etc/plain', 'utf8')).toBe('not a program')
      expect(await files.readdir('/home')).toEqual(['user'])
      expect('writeFile' in files).toBe(false)
    })
  },
)

describe('a hostile container', () => {
  it('that swaps links gets nothing of the host, and gives it nothing', async () => {
    await using test = await testEngine()
    await using temp = await temporaryDirectory()
    await writeFile(temp.join('secret'), 'secret of the host')
    const swap = `mkdir /inside; echo inside > /inside/secret; ln -s ${temp.path} /outside; echo ready > /ready
      while :; do mv -T /inside /swap; mv -T /swap /inside; mv -T /outside /swap; mv -T /swap /outside; done`
    await using container = await test.engine.containers.create({
      image: test.image,
      command: ['busybox', 'sh', '-c', swap],
    })
    await container.start()
    await expect
      .poll(() => container.files.readFile('/ready', 'utf8').catch(() => ''))
      .toBe('ready\n')
    const archive = tar([
      { name: 'secret', content: 'overwritten' },
      { name: 'new', content: 'new' },
    ])
    for (let attempt = 0; attempt < 40; attempt++) {
      const read = await container.files.readFile('/swap/secret', 'utf8').catch(() => 'inside\n')
      expect(read).toMatch(/^(?:inside\n|overwritten)$/)
      await container.copyIn(archive, '/swap').catch(() => undefined)
      await container.files.writeFile('/swap/written', 'x').catch(() => undefined)
      await container.files.rm('/swap/secret').catch(() => undefined)
      const bytes = await buffer(container.copyOut('/swap/secret')).catch(() => Buffer.alloc(0))
      expect(bytes.includes('secret of the host')).toBe(false)
    }
    expect(await readdir(temp.path)).toEqual(['secret'])
    expect(await readFile(temp.join('secret'), 'utf8')).toBe('secret of the host')
    for (const path of ['/proc/1/root/etc/passwd', '/proc/1/cwd', '/proc/1/exe']) {
      await expect(container.files.readFile(path)).rejects.toEqual(coded('KEELSON_NOT_A_FILE'))
    }
  })

  it('cannot put a program with powers, a device or a link out on the host', async () => {
    await using test = await testEngine()
    await using temp = await temporaryDirectory()
    await mkdir(temp.join('victim'))
    await using container = await test.engine.containers.create({
      image: test.image,
      command: ['true'],
    })
    const archive = tar([
      { name: 'd/', type: '5' },
      { name: 'd/root', mode: 0o6755, uid: 0, content: 'x' },
      { name: 'd/null', type: '3', devmajor: 1, devminor: 3 },
      { name: 'd/victim', type: '2', linkname: temp.join('victim') },
    ])
    await container.copyIn(archive, '/tmp')
    await container.copyOut('/tmp/d', temp.join('d'))
    // The copy's link must not be followed by a second copy over it.
    await container.files.rm('/tmp/d/victim')
    await container.files.mkdir('/tmp/d/victim')
    await container.files.writeFile('/tmp/d/victim/f', 'x')
    await container.copyOut('/tmp/d/.', temp.join('d'))
    expect((await lstat(temp.join('d/root'))).mode & 0o7777).toBe(0o755)
    expect((await readdir(temp.join('d'))).sort()).toEqual(['root', 'victim'])
    expect(await readdir(temp.join('victim'))).toEqual([])
  })
})

it('a stream that is not read to its end holds nobody up', async () => {
  await using test = await testEngine()
  await using container = await test.engine.containers.create({
    image: test.image,
    command: ['true'],
  })
  await container.files.writeFile('/tmp/large', Buffer.alloc(8 * 1024 * 1024))
  const stream = container.copyOut('/tmp/large')
  for await (const chunk of stream) {
    expect(chunk).toBeDefined()
    break
  }
  expect(stream.destroyed).toBe(true)
})

it('ordinary users do the same in their own user namespace', async () => {
  await using user = await testUser()
  const { stdout } = await user.node(`
    import { buffer } from 'node:stream/consumers'
    import { Engine } from ${JSON.stringify(join(checkout, 'dist/index.js'))}
    const engine = await Engine.open()
    try {
      const image = await engine.images.from({ '/bin/sh': '/bin/busybox', '/bin/busybox': '/bin/busybox', '/tmp': { directory: true } })
      const container = await engine.containers.create({ image, command: ['sh', '-c', 'busybox sleep 1000'] })
      const said = {}
      for (const state of ['created', 'running']) {
        if (state === 'running') await container.start()
        await container.files.writeFile('/tmp/' + state, state, { uid: 1000, gid: 1000 })
        await container.copyIn({ f: Buffer.from('copied') }, '/copies/' + state, { uid: 7 })
        const { uid, gid } = await container.files.stat('/tmp/' + state)
        said[state] = [await container.files.readFile('/copies/' + state + '/f', 'utf8'), uid, gid]
      }
      await container.copyOut('/copies', process.env.HOME + '/out')
      said.diff = (await container.diff()).map(({ path }) => path)
      said.exported = (await buffer(container.export())).length > 100_000
      const committed = await container.commit({ reference: 'mine:1' })
      said.committed = (await engine.run('mine:1', ['sh', '-c', 'busybox stat -c %u /copies/running/f; busybox cat /tmp/created'])).stdout
      console.log(JSON.stringify(said))
    } finally { await engine.close() }`)
  expect(JSON.parse(stdout)).toEqual({
    created: ['copied', 1000, 1000],
    running: ['copied', 1000, 1000],
    diff: [
      '/copies',
      '/copies/created',
      '/copies/created/f',
      '/copies/running',
      '/copies/running/f',
      '/tmp',
      '/tmp/created',
      '/tmp/running',
    ],
    exported: true,
    committed: '7\ncreated',
  })
  const owner = (await lstat(join(user.home, 'out/running/f'))).uid
  expect(owner).toBe(user.uid)
})
