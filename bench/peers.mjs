import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'

const exec = promisify(execFile)
const IMAGE = 'localhost/keelson-bench:1'

/**
 * The engines found on PATH that answer, each able to run a command of the image in `archive` (a flat root file system tar).
 *
 * @param {string} archive
 */
export function peers(archive) {
  const found = []
  const offer = (name, probe, load, run) => {
    try {
      execFileSync(name, probe, { stdio: 'ignore', timeout: 20_000 })
      execFileSync(name, load, { stdio: 'ignore', timeout: 60_000 })
      found.push({ name, run: (command) => exec(name, [...run, ...command]) })
    } catch {
      console.log(`  (${name}: not on PATH, or does not answer)`)
    }
  }
  const run = ['run', '--rm', '--network', 'none', IMAGE]
  offer('docker', ['info'], ['import', archive, IMAGE], run)
  offer('podman', ['info'], ['import', archive, IMAGE], run)
  return found
}
