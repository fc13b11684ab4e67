import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { npmRegistry } from '../support/npm-registry.ts'
import { run } from '../support/process.ts'
import { root } from '../support/repository.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'

/** The oldest that is supported, and the newest of each line since. */
const NODES = ['20.19.0', '22', '24', '26']

/** What a user writes first. `await using` would need Node 24. */
const PROGRAM = `
import { Engine } from 'keelson'
const [root, runRoot] = process.argv.slice(2)
const engine = await Engine.open({ root, runRoot })
try {
  const image = await engine.images.fromHost(['echo'])
  const { stdout, exitCode } = await engine.run(image, ['echo', 'hello'])
  console.log(JSON.stringify({ node: process.version, stdout, exitCode }))
} finally {
  await engine.close()
}
`

let temp: TemporaryDirectory
let project: string
let main: string
let platform: string

beforeAll(async () => {
  temp = await temporaryDirectory()
  const options = ['--built', '--to', temp.join('packed'), '--platform', `linux-${process.arch}`]
  const pack = ['scripts/pack-platforms.mjs', ...options]
  const { stdout } = await run(process.execPath, pack, { cwd: root })
  ;[main = '', platform = ''] = stdout.trim().split('\n')
  project = temp.join('project')
  await install()
})

afterAll(() => temp[Symbol.asyncDispose]())

describe('what is published', () => {
  test('keelson holds its compiled modules, their types, and nothing else', async () => {
    const files = await list(main)
    expect(files.filter((file) => !/^dist\/.+\.(?:js|d\.ts)$/.test(file))).toEqual(
      expect.arrayContaining(['LICENSE', 'README.md', 'package.json']),
    )
    expect(
      files.filter(
        (file) => !/^dist\/.+\.(?:js|d\.ts)$|^[A-Z]+(?:\.md)?$|^package\.json$/.test(file),
      ),
    ).toEqual([])
    expect(files).toContain('dist/index.js')
    expect(files).toContain('dist/index.d.ts')
  })

  test('the platform package holds the executable and nothing else', async () => {
    expect(await list(platform)).toEqual([
      'LICENSE',
      'README.md',
      'bin/keelson-helper',
      'package.json',
    ])
  })

  test('keelson names each platform package in exactly its own version', async () => {
    const manifest = await manifestOf(main)
    expect(manifest['optionalDependencies']).toEqual({
      '@keelson/helper-linux-x64': manifest['version'],
      '@keelson/helper-linux-arm64': manifest['version'],
    })
  })

  test('neither has scripts, so none runs at installation', async () => {
    expect(await manifestOf(main)).not.toHaveProperty('scripts')
    expect(await manifestOf(platform)).not.toHaveProperty('scripts')
  })

  test('both are small', async () => {
    expect((await stat(main)).size).toBeLessThan(500_000)
    expect((await stat(platform)).size).toBeLessThan(3_000_000)
  })
})

describe('what is installed', () => {
  test('no package has an install script', async () => {
    const lock = await readFile(join(project, 'node_modules/.package-lock.json'), 'utf8')
    const packages = (
      JSON.parse(lock) as { packages: Record<string, { hasInstallScript?: boolean }> }
    ).packages
    expect(Object.keys(packages)).toContain('node_modules/keelson')
    expect(Object.entries(packages).filter(([, entry]) => entry.hasInstallScript)).toEqual([])
  })

  test('the helper of this platform alone', async () => {
    expect(await readdir(join(project, 'node_modules/@keelson'))).toEqual([
      `helper-linux-${process.arch}`,
    ])
  })

  test('the helper runs where there is no C library', async () => {
    const empty = temp.join('empty')
    await mkdir(empty)
    const helper = join(
      project,
      `node_modules/@keelson/helper-linux-${process.arch}/bin/keelson-helper`,
    )
    await run('cp', [helper, empty])
    const { stdout } = await run('chroot', [empty, '/keelson-helper', 'version'])
    expect(stdout.trim()).toBe((await manifestOf(main))['version'])
  })

  test.each(NODES)('runs a container on Node %s', async (version) => {
    const node = await nodeOf(version)
    const state = [temp.join(`root-${version}`), temp.join(`run-${version}`)]
    const { stdout } = await run(node, ['program.mjs', ...state], {
      cwd: project,
      env: { PATH: '/usr/bin:/bin', KEELSON_HELPER: '' },
    })
    const result = JSON.parse(stdout) as { node: string }
    expect(result).toMatchObject({ stdout: 'hello\n', exitCode: 0 })
    expect(result.node).toMatch(new RegExp(`^v${version.replaceAll('.', '\\.')}(?:\\.|$)`))
  })
})

/**
 * Installs as a user does: by npm, from a registry, into an empty project, and without a compiler or anything else on PATH
 * that an install script could want.
 */
async function install(): Promise<void> {
  await mkdir(project)
  await using registry = await npmRegistry([platform])
  await writeFile(join(project, 'package.json'), '{ "private": true, "type": "module" }')
  await writeFile(join(project, '.npmrc'), `@keelson:registry=${registry.url}\n`)
  await writeFile(join(project, 'program.mjs'), PROGRAM)
  const path = temp.join('path')
  await mkdir(path)
  await symlink(process.execPath, join(path, 'node'))
  const npm = join(dirname(process.execPath), 'npm')
  const options = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund']
  await run(npm, ['install', ...options, main], { cwd: project, env: { PATH: path } })
}

async function nodeOf(version: string): Promise<string> {
  const program = `import { installNode } from './scripts/lib/nodes.mjs'\nconsole.log(await installNode('${version}'))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: root,
  })
  return stdout.trim().split('\n').at(-1) ?? ''
}

async function list(tarball: string): Promise<string[]> {
  const { stdout } = await run('tar', ['-tzf', tarball])
  return stdout
    .trim()
    .split('\n')
    .map((file) => file.replace('package/', ''))
    .sort()
}

async function manifestOf(tarball: string): Promise<Record<string, unknown>> {
  const { stdout } = await run('tar', ['-xzOf', tarball, 'package/package.json'])
  return JSON.parse(stdout) as Record<string, unknown>
}
