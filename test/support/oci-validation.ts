import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, readFile, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './process.ts'
import { cache, root } from './repository.ts'

const MODULE = 'github.com/opencontainers/runtime-tools'
const sources = `${root}/test/conformance/oci-validation`
const PLACES = ['/usr/local/go/bin', '/usr/lib/go/bin']

/** The runtime specification's own validation programs, and what they need beside them. */
export interface Validation {
  /** The directory that they want to be started in. */
  directory: string
  programs: string[]
}

/** Builds them, or finds them built. */
export async function buildValidation(): Promise<Validation> {
  const files = await Promise.all(['go.mod', 'go.sum'].map((name) => readFile(join(sources, name))))
  const key = createHash('sha256').update(Buffer.concat(files)).digest('hex').slice(0, 16)
  const directory = join(cache, 'oci-validation', key)
  if (!existsSync(directory)) await build(directory)
  const entries = await readdir(directory)
  const programs = entries.filter((name) => !/^runtimetest$|\.tar\.gz$/.test(name)).toSorted()
  return { directory, programs }
}

async function build(directory: string): Promise<void> {
  const unfinished = `${directory}.${process.pid}`
  await mkdir(unfinished, { recursive: true })
  try {
    // It runs in the root file system of a container, which has no C library.
    const flags = ['build', '-mod=mod', '-ldflags=-s -w', '-o']
    await go(...flags, join(unfinished, 'runtimetest'), `${MODULE}/cmd/runtimetest`)
    await go(...flags, `${unfinished}/`, `${MODULE}/validation/...`)
    const { stdout } = await go('list', '-mod=mod', '-m', '-f', '{{.Dir}}', MODULE)
    const architecture = process.arch === 'x64' ? 'amd64' : process.arch
    const rootfs = `rootfs-${architecture}.tar.gz`
    await copyFile(join(stdout.trim(), rootfs), join(unfinished, rootfs))
    await chmod(join(unfinished, rootfs), 0o644)
    await rename(unfinished, directory)
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    throw error
  }
}

function go(...args: string[]) {
  const path = [process.env['PATH'], ...PLACES].join(':')
  const env = { PATH: path, CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOFLAGS: '-buildvcs=false' }
  return run('go', args, { cwd: sources, env })
}
