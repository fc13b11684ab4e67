import { posix } from 'node:path'
import { keelsonError } from '../../errors.ts'
import type { TerminalSize } from '../../runtime/monitor-protocol.ts'
import type { UserNamespacePlan } from '../../runtime/protocol.ts'
import { planCapabilities } from '../../security/capabilities.ts'
import type { OciConfig, OciProcess } from '../config/oci-runtime.ts'
import { show } from '../../util/printable.ts'
import { userIn } from '../namespaces/userns.ts'
import { findUser, mapUser, type UserDatabase } from '../user/user.ts'
import type { ProcessOptions } from './options.ts'

/** What a program in a running container is planned from. */
export interface ExecInput {
  /** The container's own. */
  config: Pick<OciConfig, 'process'> & {
    linux: Pick<OciConfig['linux'], 'uidMappings' | 'gidMappings'>
  }
  command: readonly string[]
  options: ProcessOptions
  tty: false | true | TerminalSize
  users: UserDatabase
  user: UserNamespacePlan | undefined
  /** What the helper can give: names of capabilities. */
  capabilities: readonly string[]
}

/** As `exec` of the monitor's protocol takes it. */
export interface PlannedExec {
  process: OciProcess
  /** The container's own filter, or none. */
  seccomp: 'container' | undefined
}

/**
 * The OCI process of a program executed in a running container: the container's own, but for what is asked for. Pure.
 *
 * @throws `KEELSON_INVALID_OPTION`, `KEELSON_USER_NOT_FOUND`, `KEELSON_UNSUPPORTED`
 */
export function planExec(input: ExecInput): PlannedExec {
  const { config, options, tty, users } = input
  const base = config.process
  const privileged = options.privileged === true
  const { apparmorProfile, ...own } = base
  const user =
    options.user === undefined
      ? undefined
      : userIn(mapUser(findUser(String(options.user), users), input.user), config.linux)
  return {
    process: {
      ...own,
      args: words(input.command),
      terminal: tty !== false,
      ...(typeof tty === 'object' && { consoleSize: { width: tty.columns, height: tty.rows } }),
      cwd: absolute(options.workdir) ?? base.cwd,
      env: environment(input, user?.home),
      ...(user !== undefined && {
        user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      }),
      ...(privileged && {
        capabilities: planCapabilities({ add: [], drop: [], privileged: true }, input.capabilities),
        noNewPrivileges: false,
      }),
      ...(!privileged && apparmorProfile !== undefined && { apparmorProfile }),
    },
    seccomp: privileged ? undefined : 'container',
  }
}

function words(given: readonly string[]): string[] {
  const [program] = Array.isArray(given) ? (given as readonly string[]) : []
  if (program !== undefined && program !== '') {
    for (const word of given) refuseNul(word, 'command')
    return [...given]
  }
  throw keelsonError('KEELSON_INVALID_OPTION', 'There is no command to execute.', {
    option: 'command',
    hint: 'The first element must name a program: container.exec(["ls", "-l"]).',
  })
}

function absolute(given: string | undefined): string | undefined {
  if (given === undefined) return undefined
  if (given.startsWith('/')) return posix.normalize(refuseNul(given, 'workdir'))
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    `workdir is not an absolute path: ${JSON.stringify(given)}.`,
    { option: 'workdir', hint: 'Begin it with "/".' },
  )
}

/** HOME follows the user, unless somebody has set it to something else. */
function environment({ config, options, tty, users }: ExecInput, home: string | undefined) {
  const values = new Map(config.process.env.map(pair))
  if (home !== undefined) {
    const before = findUser(`${config.process.user.uid}`, users).home
    if (values.get('HOME') === before) values.set('HOME', home)
  }
  if (tty !== false && !values.has('TERM')) values.set('TERM', 'xterm')
  for (const [name, value] of variables(options.env)) {
    if (value === undefined) values.delete(name)
    else values.set(name, refuseNul(value, 'env'))
  }
  return [...values].map(([name, value]) => `${name}=${value}`)
}

function variables(env: ProcessOptions['env']): (readonly [string, string | undefined])[] {
  if (env !== undefined && (typeof env !== 'object' || env === null)) {
    throw keelsonError('KEELSON_INVALID_OPTION', `env cannot be ${show(env)}.`, {
      option: 'env',
      hint: 'Write { NAME: "value" } or ["NAME=value"].',
    })
  }
  const entries = Array.isArray(env) ? env.map(pair) : Object.entries(env ?? {})
  for (const [name] of entries) {
    if (name !== '' && !/[=\0]/.test(name)) continue
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      `env has ${JSON.stringify(name)}, which cannot be the name of a variable.`,
      { option: 'env', hint: 'Write { NAME: "value" } or ["NAME=value"].' },
    )
  }
  return entries
}

function pair(line: string): [string, string] {
  const at = line.indexOf('=')
  return at === -1 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)]
}

function refuseNul(text: string, option: string): string {
  if (typeof text === 'string' && !text.includes('\0')) return text
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    `${option} has ${JSON.stringify(text)}, which no program can be given.`,
    { option, hint: 'Give text without NUL characters.' },
  )
}
