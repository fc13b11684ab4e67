/** Running other programs: everything a script does goes through here, so that it is shown and its failure ends the script. */
import { spawn, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

/**
 * Runs a program with its output shown as it comes.
 * @param {string[]} command
 * @param {{ cwd?: string, env?: Record<string, string>, onOutput?: (text: string) => void }} [options]
 *   `onOutput` hears what the program prints, besides its being shown.
 * @returns {Promise<number>} the exit code; a signal counts as 128 and its number would, 127 when it cannot be started
 */
export function run(command, { cwd = root, env, onOutput } = {}) {
  const [file, ...args] = command
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', onOutput ? 'pipe' : 'inherit', onOutput ? 'pipe' : 'inherit'],
    })
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      from?.setEncoding('utf8').on('data', (text) => {
        to.write(text)
        onOutput(text)
      })
    }
    child.on('error', (error) => {
      process.stderr.write(`${file}: ${error.message}\n`)
      resolve(127)
    })
    child.on('close', (code) => resolve(code ?? 128))
  })
}

/** As {@link run}, but a non-zero exit is an error. */
export async function mustRun(command, options) {
  const code = await run(command, options)
  if (code !== 0) throw new Error(`${command.join(' ')} ended with exit code ${code}`)
}

/** What a program prints, or undefined when it is missing or fails. */
export function output(command, options = {}) {
  const [file, ...args] = command
  const result = spawnSync(file, args, { cwd: root, encoding: 'utf8', ...options })
  return result.status === 0 ? result.stdout.trim() : undefined
}

/** Runs a script's main function; a failure is one line, not a stack. */
export async function main(meta, action) {
  if (process.argv[1] !== fileURLToPath(meta.url)) return
  try {
    await action(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`\n${error.message}\n`)
    process.exitCode = 1
  }
}

/** A heading above the output of what follows. */
export function heading(text) {
  process.stdout.write(`\n== ${text}\n`)
}

/** What is wanted has a program in node_modules; `npx` would cost a second to say so. */
export const bin = (name) => `${root}/node_modules/.bin/${name}`
