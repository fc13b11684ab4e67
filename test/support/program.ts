import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { root as checkout } from './repository.ts'

/** Another program that uses Keelson: it is told what to do line by line, and says JSON values. */
export interface Program extends AsyncDisposable {
  /** Runs statements in it; `engine`, `image` and `say(value)` are at hand. Resolves with what it says. */
  ask(statements: string): Promise<unknown>
  kill(): Promise<void>
}

/**
 * Starts a program with an engine on these directories.
 *
 * @param host where its engine is to be; default: this one
 */
export async function program(
  { root, runRoot }: { root: string; runRoot: string },
  host?: { helper: string },
): Promise<Program> {
  const source = `
    import { createInterface } from 'node:readline'
    import { Engine } from ${JSON.stringify(join(checkout, 'dist/index.js'))}
    const engine = await Engine.open(${JSON.stringify({ root, runRoot })})
    const [image] = await engine.images.list()
    const say = (value) => console.log(JSON.stringify({ value }))
    say('open')
    const run = (text) => new (Object.getPrototypeOf(async () => {}).constructor)('engine', 'image', 'say', text)
    for await (const line of createInterface({ input: process.stdin })) {
      run(JSON.parse(line))(engine, image, say).catch((error) => console.log(JSON.stringify({ error: error.code ?? String(error) })))
    }
    await engine.close()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...(host && { KEELSON_HELPER: host.helper }) },
  })
  const lines = createInterface({ input: child.stdout })
  const exited = once(child, 'exit')
  await said(lines, child)
  return {
    async ask(statements) {
      const answer = said(lines, child)
      child.stdin.write(`${JSON.stringify(statements)}\n`)
      return await answer
    },
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await exited
    },
  }
}

async function said(lines: Interface, child: ChildProcess): Promise<unknown> {
  const line = await new Promise<string>((resolve, reject) => {
    const ended = () => reject(new Error('The program has ended.'))
    lines.once('line', (text) => {
      child.off('exit', ended)
      resolve(text)
    })
    child.once('exit', ended)
  })
  const { value, error } = JSON.parse(line) as { value?: unknown; error?: string }
  if (error !== undefined) throw Object.assign(new Error(error), { code: error })
  return value
}
