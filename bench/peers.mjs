import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const exec = promisify(execFile)
const IMAGE = 'localhost/keelson-bench:1'
const RUN = ['run', '--rm', '--network', 'none']
/** Its default limits are more than every machine lets it set. */
const PODMAN_LIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1000:1000']

/**
 * The engines on PATH that can run the command here; of each other it is said why not. `archive` is a root file system as a tar,
 * `rootfs` the same as a directory.
 *
 * @param {{ archive: string, rootfs: string, command: string[] }} scene
 * @returns {Promise<{ name: string, run: () => Promise<unknown>, forget: () => void }[]>}
 */
export async function findPeers({ archive, rootfs, command }) {
  let turn = 0
  const candidates = [
    {
      program: 'docker',
      name: 'docker run --rm',
      load: [['info'], ['import', archive, IMAGE]],
      run: () => [...RUN, IMAGE, ...command],
      unload: ['image', 'rm', IMAGE],
    },
    {
      program: 'podman',
      name: 'podman run --rm',
      load: [['import', archive, IMAGE]],
      run: () => [...RUN, ...PODMAN_LIMITS, IMAGE, ...command],
      unload: ['image', 'rm', IMAGE],
    },
    {
      program: 'ctr',
      // On a directory, so without the time that a snapshot takes.
      name: 'ctr run --rm --rootfs',
      load: [['version']],
      run: () => [
        'run',
        '--rm',
        '--rootfs',
        rootfs,
        `keelson-bench-${process.pid}-${turn++}`,
        ...command,
      ],
    },
  ]
  const found = []
  for (const { program, name, load, run, unload } of candidates) {
    try {
      for (const step of load) await exec(program, step, { timeout: 60_000 })
      await exec(program, run(), { timeout: 60_000 })
      found.push({
        name,
        run: () => exec(program, run(), { timeout: 60_000 }),
        forget: () => unload && execFileSync(program, unload, { stdio: 'ignore' }),
      })
    } catch (error) {
      console.log(`  ${program} does not take part: ${reason(error)}`)
    }
  }
  return found
}

/**
 * The engines that can keep a container running here; of each other it is said why not.
 *
 * @param {{ directory: string, rootfs: string }} scene
 * @param {string[]} command
 */
export async function findDaemonPeers(scene, command) {
  const archive = join(scene.directory, 'rootfs.tar')
  execFileSync('tar', ['-C', scene.rootfs, '-cf', archive, '.'])
  const found = []
  for (const program of ['docker', 'podman']) {
    const limits = program === 'podman' ? PODMAN_LIMITS : []
    const start = (name) =>
      exec(
        program,
        ['run', '-d', '--name', name, '--network', 'none', ...limits, IMAGE, ...command],
        { timeout: 120_000 },
      )
    const atOnce = program === 'podman' ? ['--time', '0'] : []
    const remove = (names) => exec(program, ['rm', '-f', ...atOnce, ...names], { timeout: 120_000 })
    try {
      await exec(program, ['info'], { timeout: 60_000 })
      await exec(program, ['import', archive, IMAGE], { timeout: 60_000 })
      const first = `keelson-bench-${process.pid}`
      await start(first)
      await remove([first])
      const forget = () => execFileSync(program, ['image', 'rm', IMAGE], { stdio: 'ignore' })
      found.push({ name: program, start, remove, forget })
    } catch (error) {
      console.log(`  ${program} does not take part: ${reason(error)}`)
    }
  }
  return found
}

function reason(error) {
  if (error.code === 'ENOENT') return 'not on PATH'
  if (error.killed) return 'no answer within a minute'
  const lines = String(error.stderr || error.message)
    .trim()
    .split('\n')
  return lines.at(-1).slice(0, 200)
}
