import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'

/** How a test runs a program. */
export interface RunOptions {
  cwd?: string
  /** Added to this process's. */
  env?: Record<string, string>
  input?: string | Uint8Array
  signal?: AbortSignal
  /** Resolve whatever the exit code is. */
  anyExit?: boolean
}

/** How a program ended. */
export interface Ran {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  bytes: Buffer
}

/** Runs a program to its end. Rejects with what it wrote to stderr when it fails. */
export async function run(command: string, args: string[], options: RunOptions = {}): Promise<Ran> {
  const { cwd, env, input, signal } = options
  const child = spawn(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    ...(signal === undefined ? {} : { signal }),
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  // A program need not read what it is given.
  child.stdin.on('error', () => undefined)
  child.stdin.end(input)
  const [[code, killed], bytes, stderr] = await Promise.all([
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
    buffer(child.stdout),
    buffer(child.stderr),
  ])
  const ran = { code, signal: killed, stdout: bytes.toString(), stderr: stderr.toString(), bytes }
  if (code !== 0 && options.anyExit !== true) {
    const end = killed === null ? `exit code ${code}` : `signal ${killed}`
    throw new Error(`${command} ${args.join(' ')}: ${end}\n${ran.stderr}${ran.stdout}`)
  }
  return ran
}

/** Ends a process that a test started, and waits until it has ended. */
export async function stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}
