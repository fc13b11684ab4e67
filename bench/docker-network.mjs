import { execFile, execFileSync, spawn } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const exec = promisify(execFile)
const IMAGE = 'localhost/keelson-bench-wire:1'
/** Its mounts, its processes and its network end with it, and the host's rules are not touched. */
const OWN = [
  '--mount',
  '--propagation=slave',
  '--net',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
]

/**
 * The same server and client in Docker's containers, by a private daemon of Debian's in a network namespace of its own, in which "the host"
 * then is. Of one that cannot run here it is said why.
 */
export async function findDockerNetwork(scene, program, port) {
  const directory = join(scene.directory, 'docker')
  mkdirSync(join(directory, 'image'), { recursive: true })
  const host = `unix://${join(directory, 'socket')}`
  let daemon
  try {
    daemon = await startDaemon(directory, host)
    const docker = async (...words) =>
      (await exec('docker', ['-H', host, ...words], { timeout: 60_000 })).stdout.trim()
    cpSync(program, join(directory, 'image/wire'))
    const archive = join(directory, 'image.tar')
    execFileSync('tar', ['-C', join(directory, 'image'), '-cf', archive, '.'])
    await docker('import', archive, IMAGE)
    await docker('network', 'create', 'wires')
    const run = (name, ...words) =>
      docker('run', '-d', '--name', name, '--network', 'wires', '--init', ...words)
    await run('server', '-p', `127.0.0.1:${port}:${port}`, IMAGE, '/wire', 'serve', `${port}`)
    await run('client', IMAGE, '/wire', 'serve', '1')
    const address = await docker(
      'inspect',
      '-f',
      '{{(index .NetworkSettings.Networks "wires").IPAddress}}',
      'server',
    )
    const inside = async (...words) =>
      numbers(await docker('exec', 'client', '/wire', ...words.map(String)))
    const daemonPid = execFileSync('pgrep', ['-P', `${daemon.pid}`], { encoding: 'utf8' }).trim()
    const outside = async (...words) =>
      numbers(
        execFileSync('nsenter', ['-t', daemonPid, '-n', program, ...words.map(String)], {
          encoding: 'utf8',
        }),
      )
    return {
      sides: [
        {
          name: 'docker: container to container',
          stream: async (bytes) => (await inside('stream', address, port, bytes))[0],
          ping: (count) => inside('ping', address, port, count),
        },
        side('docker: host to container', outside, address, port),
        side('docker: host to published port', outside, '127.0.0.1', port),
      ],
      forget: () => stop(daemon),
    }
  } catch (error) {
    if (daemon !== undefined) await stop(daemon)
    console.log(`\n  docker does not take part: ${reason(error)}`)
    return { sides: [], forget: async () => {} }
  }
}

function side(name, outside, address, port) {
  return {
    name,
    stream: async (bytes) => (await outside('stream', address, port, bytes))[0],
    ping: (count) => outside('ping', address, port, count),
  }
}

const numbers = (text) => text.trim().split('\n').map(Number)

async function startDaemon(directory, host) {
  writeFileSync(join(directory, 'daemon.json'), '{}')
  const flags = [
    `--data-root=${join(directory, 'data')}`,
    `--exec-root=${join(directory, 'exec')}`,
    `--pidfile=${join(directory, 'pid')}`,
    `--config-file=${join(directory, 'daemon.json')}`,
    `--host=${host}`,
  ]
  const script = 'ip link set lo up; exec dockerd "$@"'
  const daemon = spawn('unshare', [...OWN, 'sh', '-ec', script, 'dockerd', ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const log = []
  await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('no answer within a minute')), 60_000)
    daemon.once('error', reject)
    daemon.once('exit', () => reject(new Error(log.at(-1) ?? 'it ended')))
    createInterface({ input: daemon.stderr }).on('line', (line) => {
      log.push(line)
      if (line.includes('API listen on')) resolve(clearTimeout(late))
    })
  })
  return daemon
}

async function stop(daemon) {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return
  const ended = new Promise((resolve) => daemon.once('exit', resolve))
  daemon.kill('SIGKILL')
  await ended
}

function reason(error) {
  if (error.code === 'ENOENT') return 'not on PATH'
  return String(error.stderr || error.message)
    .trim()
    .split('\n')
    .at(-1)
    .slice(0, 300)
}
