import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { root as checkout } from './repository.ts'
import { run, stop } from './process.ts'

/** Starts `dns-server.mjs` in a network namespace. */
export async function nameServer(namespace: string, address: string): Promise<AsyncDisposable> {
  const script = join(checkout, 'test/support/dns-server.mjs')
  const child = spawn(
    'ip',
    ['netns', 'exec', namespace, process.execPath, script, address],
    // What it complains of belongs into the output of the test.
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(child.stdout, 'data')
  return { [Symbol.asyncDispose]: () => stop(child) }
}

/** Methods of `dns.promises.Resolver`. */
export type Lookup = 'resolve4' | 'resolve6' | 'reverse' | 'resolveTxt'

/** What the name service of a container answers: as the resolver says it, or its error's code. */
export async function lookUp(pid: number, method: Lookup, name: string): Promise<unknown> {
  const { stdout } = await run('nsenter', lookUpCommand(pid, method, name))
  return JSON.parse(stdout)
}

/** The same, with the event loop of this process standing still meanwhile. */
export function lookUpBlocking(pid: number, method: Lookup, name: string): unknown {
  const { stdout } = spawnSync('nsenter', lookUpCommand(pid, method, name), { encoding: 'utf8' })
  return JSON.parse(stdout)
}

function lookUpCommand(pid: number, method: Lookup, name: string): string[] {
  const code = `
    const { Resolver } = require('node:dns').promises
    const resolver = new Resolver({ timeout: 6000, tries: 1 })
    resolver.setServers(['127.0.0.11'])
    resolver[${JSON.stringify(method)}](${JSON.stringify(name)})
      .catch((error) => error.code)
      .then((result) => console.log(JSON.stringify(result)))
  `
  return [`--net=/proc/${pid}/ns/net`, process.execPath, '-e', code]
}
