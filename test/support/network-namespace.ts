import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, writeFile } from 'node:fs/promises'
import { Engine, type EngineOptions } from '../../src/index.ts'
import { locateHelper } from '../../src/runtime/locate.ts'
import { run, type Ran } from './process.ts'
import { temporaryDirectory } from './temp.ts'

/** A network namespace that stands for a host of its own: engines opened in it make their bridges there. */
export interface NetworkHost extends AsyncDisposable {
  open(options: EngineOptions): Promise<Engine>
  /** Runs a program on that host. */
  exec(...command: string[]): Promise<Ran>
  /** Runs a program on the other one. */
  outside(...command: string[]): Promise<Ran>
  /** Runs a program of Node on that host until it is disposed of; it listens somewhere when this returns. */
  serve(program: string): Promise<AsyncDisposable>
  /** What engines in other programs are to use as their helper. */
  helper: string
  /** Names of both, for ip-netns(8). */
  namespaces: { host: string; outside: string }
}

let count = 0

/**
 * Two namespaces joined by a link: the host, 192.0.2.1 and 2001:db8::1, on which engines run, and `outside`, 192.0.2.2 and 2001:db8::2, for
 * whom that is another machine.
 */
export async function networkHost(): Promise<NetworkHost> {
  const temp = await temporaryDirectory()
  const names = ['host', 'outside'].map((name) => `keelson-${process.pid}-${count}-${name}`)
  count++
  const [host = '', outside = ''] = names
  for (const name of names) {
    await ip('netns', 'add', name)
    await ip('-n', name, 'link', 'set', 'lo', 'up')
  }
  await ip(
    '-n',
    host,
    'link',
    'add',
    'up0',
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    outside,
  )
  for (const [name, link, number] of [
    [host, 'up0', 1],
    [outside, 'eth0', 2],
  ] as const) {
    await ip('-n', name, 'addr', 'add', `192.0.2.${number}/24`, 'dev', link)
    await ip('-n', name, 'addr', 'add', `2001:db8::${number}/64`, 'dev', link, 'nodad')
    await ip('-n', name, 'link', 'set', link, 'up')
  }
  const wrapper = temp.join('helper')
  const helper = locateHelper()
  await writeFile(wrapper, `#!/bin/sh\nexec nsenter --net=/run/netns/${host} ${helper} "$@"\n`)
  await chmod(wrapper, 0o755)
  return {
    exec: (...command) => execIn(host, command),
    outside: (...command) => execIn(outside, command),
    namespaces: { host, outside },
    serve: (program) => serveIn(host, program),
    helper: wrapper,
    async open(options) {
      const before = process.env['KEELSON_HELPER']
      process.env['KEELSON_HELPER'] = wrapper
      try {
        return await Engine.open(options)
      } finally {
        if (before === undefined) delete process.env['KEELSON_HELPER']
        else process.env['KEELSON_HELPER'] = before
      }
    },
    async [Symbol.asyncDispose]() {
      for (const name of names) await ip('netns', 'delete', name)
      await temp[Symbol.asyncDispose]()
    },
  }
}

function ip(...args: string[]): Promise<Ran> {
  return run('ip', args)
}

function execIn(name: string, command: string[]): Promise<Ran> {
  return run('ip', ['netns', 'exec', name, ...command], { anyExit: true })
}

async function serveIn(name: string, program: string): Promise<AsyncDisposable> {
  const listening = () => execIn(name, ['ss', '-Hltun']).then(({ stdout }) => stdout)
  const before = await listening()
  const command = ['netns', 'exec', name, process.execPath, '--eval', program]
  const server = spawn('ip', command, { stdio: ['ignore', 'inherit', 'inherit'] })
  const ended = once(server, 'exit')
  while ((await listening()) === before) {
    if (server.exitCode !== null) throw new Error('The server has ended.')
  }
  return {
    async [Symbol.asyncDispose]() {
      server.kill()
      await ended
    },
  }
}
