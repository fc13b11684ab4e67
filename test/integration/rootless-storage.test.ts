import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Registry } from '../../src/registry-server/index.ts'
import type { UserNamespacePlan } from '../../src/runtime/protocol.ts'
import { layer } from '../support/layers.ts'
import { serveImage } from '../support/served-image.ts'
import { program, type Driver, type ProgramOptions } from '../support/storage.ts'
import { testUser, type TestUser } from '../support/user.ts'

let registry: Registry

beforeEach(async () => {
  registry = await Registry.listen()
  const layers = await Promise.all([
    layer([
      { name: './', type: '5', mode: 0o750, uid: 7, gid: 7 },
      { name: 'root', mode: 0o4755, content: '#!' },
      { name: 'other', uid: 1000, gid: 1000, content: 'other' },
      { name: 'kept/', type: '5', uid: 1000, gid: 1000, mode: 0o700 },
      { name: 'kept/gone', content: 'gone' },
      { name: 'null', type: '3', devmajor: 1, devminor: 3 },
    ]),
    layer([{ name: 'kept/.wh.gone' }, { name: 'kept/new', content: 'new' }]),
  ])
  await serveImage(registry, 'app', '1', { layers })
})
afterEach(() => registry.close())

function plan(user: TestUser): UserNamespacePlan {
  const own = { containerID: 0, size: 1 }
  const { subuids } = user
  const more =
    subuids === undefined
      ? []
      : [{ containerID: 1, hostID: subuids.first, size: Math.min(subuids.count, 65_535) }]
  const programs =
    subuids === undefined
      ? { setgroups: 'deny' as const }
      : {
          newuidmap: '/usr/bin/newuidmap',
          newgidmap: '/usr/bin/newgidmap',
          setgroups: 'allow' as const,
        }
  return {
    uidMappings: [{ ...own, hostID: user.uid }, ...more],
    gidMappings: [{ ...own, hostID: user.gid }, ...more],
    ...programs,
  }
}

/** Pulls as that user, prepares a writable layer, and says where things are; then removes all. */
async function pullAs(user: TestUser, options: ProgramOptions) {
  const root = join(user.home, 'keelson')
  const source = `
    const image = await images.pull(${JSON.stringify(`${registry.host}/app:1`)})
    print({ chain: image.chain, prepared: await snapshotter.prepare('one', image.chain) })
    await new Promise((resolve) => process.stdin.once('end', resolve).resume())
  `
  const helper = process.env['KEELSON_HELPER']
  const { stdout } = await user.node(program(root, source, { user: plan(user), ...options }), {
    env: helper === undefined ? {} : { KEELSON_HELPER: helper },
  })
  const { chain, prepared } = JSON.parse(stdout) as {
    chain: string[]
    prepared: { remove: string[] }
  }
  const directory = join(root, 'snapshots', options.driver ?? 'overlay')
  const fs = (index: number) => join(directory, (chain[index] ?? '').slice(7), 'fs')
  return { root, directory, fs, prepared }
}

const owner = async (path: string) => {
  const { uid, gid, mode } = await lstat(path)
  return [uid, gid, (mode & 0o7777).toString(8)]
}

test.each<Driver>(['overlay', 'copy'])(
  'an ordinary user pulls with the %s driver: owners are subordinate ids',
  async (driver) => {
    await using user = await testUser()
    const { fs, directory, prepared } = await pullAs(user, { driver })
    const first = user.subuids?.first ?? 0
    const sub = (id: number) => first + id - 1
    expect(await owner(fs(0))).toEqual([sub(7), sub(7), '750'])
    expect(await owner(join(fs(0), 'root'))).toEqual([user.uid, user.gid, '4755'])
    expect(await owner(join(fs(0), 'other'))).toEqual([sub(1000), sub(1000), '644'])
    expect(await readdir(fs(0))).not.toContain('null')
    // Implied by the second layer.
    expect(await owner(join(fs(1), 'kept'))).toEqual([sub(1000), sub(1000), '700'])
    expect(await owner(fs(1))).toEqual([sub(7), sub(7), '750'])
    const upper = join(prepared.remove[0] ?? '', driver === 'overlay' ? 'upper' : 'fs')
    expect(await owner(upper)).toEqual([sub(7), sub(7), '750'])
    // What belongs to others than the user himself can be removed by him, through the helper.
    const root = join(directory, '../..')
    const source = `print((await images.prune({ all: true })).snapshots.length)`
    const helper = process.env['KEELSON_HELPER']
    const { stdout } = await user.node(program(root, source, { user: plan(user), driver }), {
      env: helper === undefined ? {} : { KEELSON_HELPER: helper },
    })
    expect(stdout.trim()).toBe('2')
    const left = (await readdir(directory)).filter((name) => name.length === 64)
    expect(left).toEqual([])
    expect(await readdir(join(directory, 'writable'))).toEqual([])
  },
)

test('a user without subordinate ids pulls, and all files are his', async () => {
  await using user = await testUser({ subids: false })
  const { fs } = await pullAs(user, { owners: 'squash' })
  expect(await owner(join(fs(0), 'other'))).toEqual([user.uid, user.gid, '644'])
  expect(await owner(join(fs(0), 'root'))).toEqual([user.uid, user.gid, '4755'])
  expect(await owner(join(fs(1), 'kept'))).toEqual([user.uid, user.gid, '700'])
})
