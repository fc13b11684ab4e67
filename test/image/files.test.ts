import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { planFiles, type ImageFiles } from '../../src/image/files.ts'
import { arrange } from '../../src/image/layer-entry.ts'
import { temporaryDirectory } from '../support/temp.ts'

const EPOCH = new Date(0)

async function paths(files: ImageFiles): Promise<string[]> {
  const entries = arrange(await planFiles(files, EPOCH), EPOCH)
  return entries.map(({ type, path }) => (type === 'directory' ? `${path}/` : path))
}

test('parents come first, and are made where nobody gave them', async () => {
  const content = Buffer.from('')
  expect(
    await paths({ '/b-c': content, '/b/z': content, '/b/a/x': content, '/a': content }),
  ).toEqual(['/a', '/b/', '/b/a/', '/b/a/x', '/b/z', '/b-c'])
})

test('a directory of the host is taken whole, links as links', async () => {
  await using temp = await temporaryDirectory()
  await mkdir(temp.join('tree/sub/empty'), { recursive: true, mode: 0o750 })
  await writeFile(temp.join('tree/sub/tool'), 'x', { mode: 0o755 })
  await symlink('sub/tool', temp.join('tree/link'))
  const entries = await planFiles({ '/app/': temp.join('tree') }, EPOCH)
  const plain = entries.map(({ path, type, mode }) => [path, type, mode.toString(8)])
  expect(plain.sort((a, b) => ((a[0] ?? '') < (b[0] ?? '') ? -1 : 1))).toEqual([
    ['/app', 'directory', '750'],
    ['/app/link', 'link', '777'],
    ['/app/sub', 'directory', '750'],
    ['/app/sub/empty', 'directory', '750'],
    ['/app/sub/tool', 'file', '755'],
  ])
})

test.each<[string, ImageFiles]>([
  ['relative', { 'bin/app': Buffer.from('') }],
  ['above the root', { '/bin/../../etc/passwd': Buffer.from('') }],
  ['the root', { '/': Buffer.from('') }],
  ['a NUL', { '/a\0b': Buffer.from('') }],
  ['twice', { '/a': Buffer.from(''), '//a/': Buffer.from('') }],
  ['below a file', { '/a': Buffer.from(''), '/a/b': Buffer.from('') }],
  ['below a link', { '/a': { link: '/tmp' }, '/a/b': Buffer.from('') }],
  ['nothing', { '/a': {} }],
  ['two things', { '/a': { content: '', link: 'b' } }],
  ['an empty link', { '/a': { link: '' } }],
  ['a mode with a type', { '/a': { content: '', mode: 0o100644 } }],
  ['a negative uid', { '/a': { content: '', uid: -1 } }],
  ['a gid that means "none"', { '/a': { content: '', gid: 2 ** 32 - 1 } }],
  ['no time', { '/a': { content: '', mtime: new Date(NaN) } }],
  ['a missing host file', { '/a': '/no/such/file' }],
  ['a device', { '/a': '/dev/null' }],
])('%s is refused', async (_, files) => {
  await expect(paths(files)).rejects.toMatchObject({ code: 'KEELSON_INVALID_OPTION' })
})
