import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { busyboxImage } from '../support/busybox-image.ts'
import { dockerRegistry, type DockerRegistry } from '../support/docker-registry.ts'
import { run } from '../support/process.ts'
import { pushLayout } from '../support/push.ts'
import { root } from '../support/repository.ts'

// Every example is run as a user would: compiled, with the package as it is built, on the default directories.

/** What each is called with, and what it prints. */
const EXPECTED: Record<string, { args?: (registry: string) => string[]; output: RegExp }> = {
  'hello.ts': { output: /^hello 0\n$/ },
  'own-registry.ts': { output: /through a pipe\n$/ },
  'untrusted-code.ts': { output: /^stopped after two seconds\n$/ },
  'pull.ts': {
    args: (registry) => [`${registry}/busybox:1`],
    output: /done\n(.*\n)*127\.0\.0\.1:\d+\/busybox:1: \d+ bytes, (amd64|arm64)\nbin\n/,
  },
}

const examples = await readdir(join(root, 'examples'))
let directory: string
let registry: DockerRegistry
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-examples-'))
  await mkdir(join(directory, 'node_modules'))
  await symlink(root, join(directory, 'node_modules/keelson'))
  registry = await dockerRegistry()
  const image = await busyboxImage()
  await pushLayout(image.layout, image.name, registry)
})
afterAll(async () => {
  await registry?.[Symbol.asyncDispose]()
  await rm(directory, { recursive: true, force: true })
})

describe('the example', () => {
  it.each(examples)('%s does what it says', async (name) => {
    const { args = () => [], output } = EXPECTED[name] ?? {}
    if (output === undefined) throw new Error(`it is not said what ${name} prints`)
    const program = await compiled(name)
    const { stdout } = await run('unshare', [...OWN_STATE, program, ...args(registry.host)])
    expect(stdout).toMatch(output)
  })
})

/** The default directories, without what this machine's own engines keep there. */
const OWN_STATE = [
  '--mount',
  'sh',
  '-ec',
  `for each in /var/lib/keelson /run/keelson
   do mkdir -p "$each"; mount -t tmpfs keelson-examples "$each"
   done
   exec ${process.execPath} "$0" "$@"`,
]

/** Node 20 does not take types off by itself. */
async function compiled(name: string): Promise<string> {
  const { outputText } = ts.transpileModule(await readFile(join(root, 'examples', name), 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
  })
  const program = join(directory, `${basename(name, '.ts')}.mjs`)
  await writeFile(program, outputText)
  return program
}
