import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { planHost, type HostPlan } from '../../src/image/from-host.ts'
import { arrange } from '../../src/image/layer-entry.ts'
import { packLayer } from '../../src/image/tar-layer.ts'
import { run, type Ran } from '../support/process.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'

const EPOCH = new Date(0)

/** Unpacks what was planned and runs it with that directory as its root: what is missing there is missing. */
async function inImage(temp: TemporaryDirectory, plan: HostPlan, command: string[]): Promise<Ran> {
  const rootfs = temp.join('rootfs')
  await mkdir(rootfs, { recursive: true })
  await using layer = await packLayer(arrange(plan.entries, EPOCH), temp.path, {
    compression: 'none',
  })
  await run('tar', [
    '--extract',
    '--numeric-owner',
    '--same-permissions',
    '-f',
    layer.path,
    '-C',
    rootfs,
  ])
  const [path = ''] = plan.config.Env ?? []
  return await run('chroot', [rootfs, ...command], { env: { PATH: path.slice('PATH='.length) } })
}

test('node and sh run with nothing of the host but what was found', async () => {
  await using temp = await temporaryDirectory()
  const plan = await planHost(['node', 'sh'], EPOCH)
  expect(plan.config.Cmd).toEqual(['node'])
  const hash =
    "console.log(require('crypto').createHash('sha256').update('x').digest('hex').slice(0, 8))"
  const node = await inImage(temp, plan, ['node', '-e', hash])
  expect(node.stdout).toBe('2d711642\n')
  const sh = await inImage(temp, plan, ['/bin/sh', '-c', 'echo $((6 * 7))'])
  expect(sh.stdout).toBe('42\n')
})

test('a script brings its interpreter, and env(1) the program that it looks up', async () => {
  await using temp = await temporaryDirectory()
  await writeFile(temp.join('direct'), '#!/bin/sh\necho direct\n', { mode: 0o755 })
  await writeFile(temp.join('looked-up'), '#!/usr/bin/env bash\necho "${BASH_VERSION:+bash}"\n', {
    mode: 0o755,
  })
  const plan = await planHost([temp.join('direct'), temp.join('looked-up')], EPOCH)
  expect((await inImage(temp, plan, [temp.join('direct')])).stdout).toBe('direct\n')
  expect((await inImage(temp, plan, [temp.join('looked-up')])).stdout).toBe('bash\n')
})

test('libraries are found by RUNPATH and RPATH with $ORIGIN, through links, and transitively', async () => {
  await using temp = await temporaryDirectory()
  await mkdir(temp.join('app/lib/deep'), { recursive: true })
  await mkdir(temp.join('app/bin'))
  const source = async (name: string, text: string) => {
    await writeFile(temp.join(name), text)
    return temp.join(name)
  }
  const low = await source('low.c', 'int low(void) { return 40; }')
  const high = await source('high.c', 'int low(void); int high(void) { return low() + 2; }')
  const main = await source(
    'main.c',
    '#include <stdio.h>\nint high(void); int main(void) { printf("%d\\n", high()); return 0; }',
  )
  const [lib, deep] = [temp.join('app/lib'), temp.join('app/lib/deep')]
  await run('gcc', [
    '-shared',
    '-fPIC',
    '-Wl,-soname,liblow.so.1',
    '-o',
    `${deep}/liblow.so.1.2`,
    low,
  ])
  await symlink('liblow.so.1.2', `${deep}/liblow.so.1`)
  await run('gcc', [
    '-shared',
    '-fPIC',
    '-o',
    `${lib}/libhigh.so`,
    high,
    `${deep}/liblow.so.1.2`,
    '-Wl,--enable-new-dtags,-rpath,$ORIGIN/deep',
  ])
  for (const [program, tags] of [
    ['new', '--enable-new-dtags'],
    ['old', '--disable-new-dtags'],
  ] as const) {
    await run('gcc', [
      '-o',
      temp.join('app/bin', program),
      main,
      `${lib}/libhigh.so`,
      '-Wl,--unresolved-symbols=ignore-in-shared-libs',
      `-Wl,${tags},-rpath,$ORIGIN/../lib`,
    ])
  }
  await symlink('app/bin/new', temp.join('linked'))
  const plan = await planHost([temp.join('linked'), temp.join('app/bin/old')], EPOCH)
  const paths = plan.entries.map((entry) => entry.path)
  expect(paths).toContain(`${deep}/liblow.so.1.2`)
  expect((await inImage(temp, plan, [temp.join('linked')])).stdout).toBe('42\n')
  expect((await inImage(temp, plan, [temp.join('app/bin/old')])).stdout).toBe('42\n')
})

test('a program linked with musl brings musl and not glibc', async () => {
  await using temp = await temporaryDirectory()
  await writeFile(
    temp.join('hello.c'),
    '#include <stdio.h>\nint main(void) { puts("musl"); return 0; }\n',
  )
  await run('musl-gcc', ['-o', temp.join('hello'), temp.join('hello.c')])
  const plan = await planHost([temp.join('hello')], EPOCH)
  const paths = plan.entries.map((entry) => entry.path)
  expect(paths.filter((path) => /ld-musl-[^/]+\.so\.1$/.test(path))).toHaveLength(1)
  expect(paths.filter((path) => /ld-linux|libc\.so\.6/.test(path))).toEqual([])
  expect((await inImage(temp, plan, [temp.join('hello')])).stdout).toBe('musl\n')
})

test('what is missing is named before anything is written', async () => {
  await using temp = await temporaryDirectory()
  await expect(planHost(['no-such-program'], EPOCH)).rejects.toMatchObject({
    code: 'KEELSON_COMMAND_NOT_FOUND',
    program: 'no-such-program',
  })
  await expect(planHost([], EPOCH)).rejects.toMatchObject({ code: 'KEELSON_INVALID_OPTION' })
  await writeFile(temp.join('plain'), 'text')
  await chmod(temp.join('plain'), 0o644)
  await expect(planHost([temp.join('plain')], EPOCH)).rejects.toMatchObject({
    code: 'KEELSON_COMMAND_NOT_EXECUTABLE',
  })
  await writeFile(temp.join('lib.c'), 'int x;')
  await writeFile(temp.join('main.c'), 'int main(void) { return 0; }')
  await run('gcc', ['-shared', '-o', temp.join('libgone.so'), temp.join('lib.c')])
  await run('gcc', [
    '-o',
    temp.join('main'),
    temp.join('main.c'),
    '-Wl,--no-as-needed',
    temp.join('libgone.so'),
  ])
  await run('mv', [temp.join('libgone.so'), temp.join('elsewhere')])
  await expect(planHost([temp.join('main')], EPOCH)).rejects.toMatchObject({
    code: 'KEELSON_LIBRARY_NOT_FOUND',
  })
  await writeFile(temp.join('script'), '#!/no/such/interpreter\n', { mode: 0o755 })
  await expect(planHost([temp.join('script')], EPOCH)).rejects.toMatchObject({ code: 'KEELSON_IO' })
})
