import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { busyboxImage } from '../support/busybox-image.ts'
import { dockerRegistry, type DockerRegistry } from '../support/docker-registry.ts'
import { postgresImage } from '../support/postgres-image.ts'
import { run } from '../support/process.ts'
import { pushLayout } from '../support/push.ts'
import { root } from '../support/repository.ts'

// Every example is run as a user would: compiled, with the package as it is built, on the default directories.

interface Expected {
  /** Commands of a shell, in which `$0` is the example and the functions of {@link OWN_STATE} are known. */
  script?: (registry: string) => string
  /** What is typed where it says what; then it has a terminal. */
  dialogue?: [prompt: string, typed: string][]
  output: RegExp
  /** What it leaves in its directory. */
  files?: Record<string, RegExp>
}

/** How each is called, and what it prints. */
const EXPECTED: Record<string, Expected> = {
  'hello.ts': { output: /^hello 0\n$/ },
  'own-registry.ts': { output: /through a pipe\n$/ },
  'untrusted-code.ts': { output: /^stopped after two seconds\n$/ },
  'pull.ts': {
    script: (registry) => `example ${registry}/busybox:1`,
    output: /done\n(.*\n)*127\.0\.0\.1:\d+\/busybox:1: \d+ bytes, (amd64|arm64)\nbin\n/,
  },
  'postgres.ts': {
    script: (registry) => `example ${registry}/postgres:15`,
    output: /^hello\nstopped with exit code 0\n$/,
    files: { 'dump.sql': /CREATE TABLE public\.words[^]*\nhello\n/ },
  },
  'database-client.ts': {
    script: (registry) => `example ${registry}/postgres:15`,
    output: /^hello from a pool\n$/,
  },
  'two-tier.ts': {
    script: (registry) => `example ${registry}/postgres:15`,
    output: /^visit 1\nvisit 2\nthe database has 2\n$/,
  },
  'network-service.ts': { output: /^asked for \/orders\/7\nthe order is shipped\n$/ },
  'logs.ts': {
    output:
      /^(\S+Z stdout part \d\n){2}(?=[^]*stdout part 3\n)(?=[^]*stderr no part 4\n)(\S+Z .*\n){2}exit code 1\n$/,
  },
  'restart.ts': {
    script: () => `trap 'example remove' EXIT; example; example`,
    output: /^started\nrunning since \S+Z with 0 restarts\nit was at job \d+\n$/,
  },
  'shell.ts': {
    script: (registry) =>
      `stty columns 91 rows 37; code=0; example ${registry}/busybox:1 || code=$?; echo "exit code $code"`,
    dialogue: [
      ['/ # ', 'stty size\r'],
      ['37 91', 'exit 7\r'],
    ],
    output: /\n37 91\r*\n[^]*exit code 7\r*\n$/,
  },
  'volumes.ts': { output: /^hello\n\n$/ },
  'files.ts': {
    output: /^HELLO\n\nadded \/data\nadded \/data\/in\nadded \/data\/out\nHELLO\n\n$/,
    files: { 'copy/in': /^hello\n$/, 'copy/out': /^HELLO\n$/ },
  },
  'network-faults.ts': { output: /^tested\n(?=[^]*# pass 1\n# fail 0\n)/m },
  'ready.ts': { output: /^200 hello\n$/ },
}

const examples = await readdir(join(root, 'examples'))
let directory: string
let registry: DockerRegistry
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-examples-'))
  await mkdir(join(directory, 'node_modules'))
  await symlink(root, join(directory, 'node_modules/keelson'))
  await symlink(join(root, 'node_modules/pg'), join(directory, 'node_modules/pg'))
  registry = await dockerRegistry()
  const images = [await busyboxImage(), await postgresImage()]
  for (const { layout, name } of images) await pushLayout(layout, name, registry)
})
afterAll(async () => {
  await registry?.[Symbol.asyncDispose]()
  await rm(directory, { recursive: true, force: true })
})

describe('the example', () => {
  it.each(examples)('%s does what it says', async (name) => {
    const expected = EXPECTED[name]
    if (expected === undefined) throw new Error(`it is not said what ${name} prints`)
    const cwd = await mkdtemp(join(directory, `${basename(name, '.ts')}-`))
    const script = OWN_STATE + (expected.script?.(registry.host) ?? 'example')
    const command = ['--mount', 'sh', '-ec', script, await compiled(name)]
    const said =
      expected.dialogue === undefined
        ? (await run('unshare', command, { cwd })).stdout
        : await converse(['unshare', ...command], expected.dialogue, cwd)
    expect(said).toMatch(expected.output)
    for (const [file, content] of Object.entries(expected.files ?? {})) {
      expect(await readFile(join(cwd, file), 'utf8')).toMatch(content)
    }
  })
})

/** The default directories, without what this machine's own engines keep there. */
const OWN_STATE = `
  for each in /var/lib/keelson /run/keelson
  do mkdir -p "$each"; mount -t tmpfs keelson-examples "$each"
  done
  program=$0
  example() { ${process.execPath} "$program" "$@"; }
`

/** Runs a command on a terminal and answers it: what was typed before it asks would be the terminal's, not the program's. */
async function converse(
  command: string[],
  dialogue: [prompt: string, typed: string][],
  cwd: string,
): Promise<string> {
  const quoted = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
  const child = spawn('script', ['--quiet', '--command', quoted, '/dev/null'], {
    cwd,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let said = ''
  let from = 0
  const rest = [...dialogue]
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    said += chunk as string
    const [prompt, typed] = rest[0] ?? []
    const at = prompt === undefined ? -1 : said.indexOf(prompt, from)
    if (prompt === undefined || at < 0) continue
    from = at + prompt.length
    rest.shift()
    child.stdin.write(typed)
  }
  return said
}

/** Node 20 does not take types off by itself. */
async function compiled(name: string): Promise<string> {
  const { outputText } = ts.transpileModule(await readFile(join(root, 'examples', name), 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
  })
  const program = join(directory, `${basename(name, '.ts')}.mjs`)
  await writeFile(program, outputText)
  return program
}
