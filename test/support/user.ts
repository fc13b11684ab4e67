import { randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, readFile } from 'node:fs/promises'
import { run, type Ran, type RunOptions } from './process.ts'
import { temporaryDirectory } from './temp.ts'

/** An ordinary user of this machine, there for a test. */
export interface TestUser extends AsyncDisposable {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
  /** `XDG_RUNTIME_DIR`, 0700 as the specification wants it. */
  readonly runtime: string
  /** First subordinate user id and how many; `undefined` without. */
  readonly subuids: { first: number; count: number } | undefined
  /** Runs a program as this user: without capabilities, with a clean environment, in the home directory. */
  run(command: string, args: string[], options?: RunOptions): Promise<Ran>
  /** Runs an ES module given as text, by this test's own Node. */
  node(source: string, options?: RunOptions): Promise<Ran>
}

/**
 * Adds a user with a home directory and subordinate ids (`subids: false`: none). Needs root.
 * The user goes with the scope, and with him his files and processes.
 */
export async function testUser({ subids = true }: { subids?: boolean } = {}): Promise<TestUser> {
  const name = `keelson-${randomBytes(4).toString('hex')}`
  const temp = await temporaryDirectory('keelson-user-')
  await chmod(temp.path, 0o755)
  const [home, runtime] = [temp.join('home'), temp.join('run')]
  // useradd gives every ordinary user subordinate ids, a system user none.
  const kind = subids ? [] : ['--key', 'SUB_UID_COUNT=0', '--key', 'SUB_GID_COUNT=0']
  const settings = ['--create-home', '--home-dir', home, '--shell', '/bin/sh', '--user-group']
  await run('useradd', [...settings, ...kind, name])
  const remove = async () => {
    await endProcesses(name)
    await run('userdel', ['--force', name])
    await temp[Symbol.asyncDispose]()
  }
  try {
    const [uid, gid] = await ids(name)
    await mkdir(runtime, { mode: 0o700 })
    await chown(runtime, uid, gid)
    const user: TestUser = {
      name,
      uid,
      gid,
      home,
      runtime,
      subuids: await subordinates(name),
      run: (command, args, options = {}) =>
        run('setpriv', asUser(user, options.env, command, args), {
          cwd: home,
          ...options,
          env: {},
        }),
      node: (source, options) =>
        user.run(process.execPath, ['--input-type=module', '--eval', source], options),
      [Symbol.asyncDispose]: remove,
    }
    return user
  } catch (error) {
    await remove()
    throw error
  }
}

function asUser(
  user: TestUser,
  env: Record<string, string> | undefined,
  command: string,
  args: string[],
): string[] {
  const { uid, gid, name, home, runtime } = user
  const environment = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: home,
    USER: name,
    XDG_RUNTIME_DIR: runtime,
    ...env,
  }
  const settings = Object.entries(environment).map(([key, value]) => `${key}=${value}`)
  const identity = [`--reuid=${uid}`, `--regid=${gid}`, '--init-groups', '--inh-caps=-all']
  return [...identity, '--ambient-caps=-all', 'env', '-i', ...settings, command, ...args]
}

async function ids(name: string): Promise<[uid: number, gid: number]> {
  const { stdout } = await run('getent', ['passwd', name])
  const [, , uid, gid] = stdout.split(':')
  return [Number(uid), Number(gid)]
}

async function subordinates(name: string): Promise<TestUser['subuids']> {
  const file = await readFile('/etc/subuid', 'utf8').catch(() => '')
  const line = file.split('\n').find((entry) => entry.startsWith(`${name}:`))
  const [, first, count] = line?.split(':') ?? []
  return first === undefined ? undefined : { first: Number(first), count: Number(count) }
}

/** What the user's own programs may have left running: his name is nobody else's. */
async function endProcesses(name: string): Promise<void> {
  const { stdout } = await run('ps', ['-o', 'pid=', '-U', name], { anyExit: true })
  for (const pid of stdout
    .split('\n')
    .map(Number)
    .filter((number) => number > 0)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
    }
  }
}
