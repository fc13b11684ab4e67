import { open, readFile } from 'node:fs/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { run } from '../support/process.ts'
import { root } from '../support/repository.ts'

const TARGET = 'aarch64-unknown-linux-gnu'
const EMULATOR = 'qemu-aarch64-static'
const helper = `${root}/helper/target/${TARGET}/release/keelson-helper`

/** Milliseconds that a compiler may take on a busy machine. */
const COMPILING = 600_000

/** Rust's library for arm64 comes from rustup, which a machine may not have or reach. */
async function targetInstalled(): Promise<boolean> {
  const program = `import { canBuild } from './scripts/build-helper.mjs'\nconsole.log(canBuild('${TARGET}'))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: root,
  })
  return stdout.trim() === 'true'
}

describe('the helper for arm64, on an emulated processor', () => {
  let installed: boolean
  beforeAll(async () => {
    installed = await targetInstalled()
    if (installed)
      await run(process.execPath, ['scripts/build-helper.mjs', '--target', TARGET], { cwd: root })
  }, COMPILING)

  test('is a static executable for that processor', async ({ skip }) => {
    skip(!installed, `the Rust target ${TARGET} is not installed: rustup target add ${TARGET}`)
    const header = await elfHeader(helper)
    expect(header).toEqual({ machine: EM_AARCH64, interpreter: false })
  })

  test('starts and says its version', async ({ skip }) => {
    skip(!installed, `the Rust target ${TARGET} is not installed: rustup target add ${TARGET}`)
    const manifest = JSON.parse(await readFile(`${root}/package.json`, 'utf8')) as {
      version: string
    }
    const { stdout } = await run(EMULATOR, [helper, 'version'])
    expect(stdout.trim()).toBe(manifest.version)
  })

  test(
    'compiles seccomp profiles for that architecture as it should',
    async ({ skip }) => {
      skip(!installed, `the Rust target ${TARGET} is not installed: rustup target add ${TARGET}`)
      // the unit tests alone: those in helper/tests make namespaces, which the emulator only half knows
      const { stdout } = await run(
        'cargo',
        ['test', '--locked', '--target', TARGET, '--bin', 'keelson-helper', 'seccomp'],
        {
          cwd: `${root}/helper`,
          env: { CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER: EMULATOR },
        },
      )
      expect(stdout).toMatch(/test result: ok\. [1-9]\d* passed/)
    },
    COMPILING,
  )
})

const EM_AARCH64 = 183
const PT_INTERP = 3

/** Reads what the kernel would look at: the machine, and whether a dynamic linker is asked for. */
async function elfHeader(path: string): Promise<{ machine: number; interpreter: boolean }> {
  const file = await open(path)
  try {
    const { buffer } = await file.read(Buffer.alloc(4096), 0, 4096, 0)
    const start = Number(buffer.readBigUInt64LE(32))
    const size = buffer.readUInt16LE(54)
    const types = Array.from({ length: buffer.readUInt16LE(56) }, (_, index) =>
      buffer.readUInt32LE(start + index * size),
    )
    return { machine: buffer.readUInt16LE(18), interpreter: types.includes(PT_INTERP) }
  } finally {
    await file.close()
  }
}
