import { spawn } from 'node:child_process'
import { keelsonError, type KeelsonError } from '../errors.ts'
import { abortedError, throwIfAborted } from '../util/abort.ts'
import { printable } from '../util/printable.ts'
import type { RegistryAuth } from './options.ts'

const MAX_OUTPUT = 1024 * 1024

/**
 * Asks `docker-credential-<name>` what it knows for a server: the server on its standard input, JSON on its output.
 * Undefined when it knows nothing.
 *
 * @throws `KEELSON_CREDENTIALS` when there is no such program, it fails, or it takes too long.
 */
export async function askCredentialHelper(
  name: string,
  server: string,
  options: { env: NodeJS.ProcessEnv; helperTimeout: number; signal?: AbortSignal | undefined },
): Promise<RegistryAuth | undefined> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) {
    throw keelsonError(
      'KEELSON_CREDENTIALS',
      `"${printable(name)}" is no name of a credential helper.`,
      {
        hint: 'In credsStore and credHelpers stands only what follows "docker-credential-".',
      },
    )
  }
  const program = `docker-credential-${name}`
  const { code, stdout } = await runHelper(program, server, options)
  if (code !== 0) {
    // The helpers' common library says this in so many words, and only on its output.
    if (/credentials not found|no credentials server URL/i.test(stdout)) return undefined
    throw failed(program, `exits with status ${code}: ${printable(stdout)}`)
  }
  return decode(stdout, program)
}

function decode(stdout: string, program: string): RegistryAuth | undefined {
  let answer: unknown
  try {
    answer = JSON.parse(stdout)
  } catch {
    // What it wrote may hold a secret: it is not quoted.
    throw failed(program, 'does not answer with JSON')
  }
  const fields = typeof answer === 'object' && answer !== null ? answer : {}
  const username = 'Username' in fields ? fields.Username : undefined
  const secret = 'Secret' in fields ? fields.Secret : undefined
  if (typeof username !== 'string' || typeof secret !== 'string') {
    throw failed(program, 'answers without Username and Secret')
  }
  if (secret === '') return undefined
  return username === '<token>' ? { identityToken: secret } : { username, password: secret }
}

function runHelper(
  program: string,
  server: string,
  options: { env: NodeJS.ProcessEnv; helperTimeout: number; signal?: AbortSignal | undefined },
): Promise<{ code: number | null; stdout: string }> {
  const { env, helperTimeout, signal } = options
  throwIfAborted(signal, `asking ${program}`)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const child = spawn(program, ['get'], { env, stdio: ['pipe', 'pipe', 'ignore'] })
    const stop = (error: KeelsonError) => {
      child.kill('SIGKILL')
      child.stdout.destroy()
      reject(error)
    }
    const onAbort = () => {
      if (signal !== undefined) stop(abortedError(signal, `asking ${program}`))
    }
    const timer = setTimeout(
      () => stop(failed(program, `does not answer within ${helperTimeout} ms`)),
      helperTimeout,
    )
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    child.once('error', (cause) => {
      settle()
      reject(failed(program, 'cannot be started', cause))
    })
    child.stdout.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > MAX_OUTPUT) stop(failed(program, 'writes more than a megabyte'))
      else chunks.push(chunk)
    })
    child.once('close', (code) => {
      settle()
      resolve({ code, stdout: Buffer.concat(chunks).toString('utf8').trim() })
    })
    // A helper that never reads its input closes it: no failure of its own.
    child.stdin.on('error', () => {})
    child.stdin.end(server)
  })
}

function failed(program: string, problem: string, cause?: unknown): KeelsonError {
  return keelsonError('KEELSON_CREDENTIALS', `The credential helper ${program} ${problem}.`, {
    hint: 'Install it, or remove it from credsStore and credHelpers of the Docker configuration.',
    cause,
  })
}
