import { keelsonError } from '../../errors.ts'
import type { ExecutionParameters } from '../../oci/image-config.ts'

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * The argument vector, by Docker's rules: an entrypoint that is given replaces the image's and its command too; a command that is given
 * replaces the image's.
 *
 * @throws `KEELSON_INVALID_OPTION` when nothing is left to run
 */
export function commandLine(
  given: { entrypoint?: readonly string[] | undefined; command?: readonly string[] | undefined },
  image: ExecutionParameters,
): string[] {
  const entrypoint = given.entrypoint ?? image.Entrypoint ?? []
  // An empty command is none.
  const own = given.command !== undefined && given.command.length > 0 ? given.command : undefined
  const command = own ?? (given.entrypoint === undefined ? image.Cmd : undefined) ?? []
  // One empty word is how images and callers say that there is no entrypoint.
  const isNone = entrypoint.length === 1 && entrypoint[0] === ''
  const args = [...(isNone ? [] : entrypoint), ...command]
  if (args.length === 0) {
    throw keelsonError('KEELSON_INVALID_OPTION', 'There is no command to run.', {
      hint: 'The image names none: pass one, e.g. engine.run(image, ["sh"]).',
      option: 'command',
    })
  }
  if (args[0] === '') {
    throw keelsonError('KEELSON_INVALID_OPTION', 'The command is an empty string.', {
      hint: 'The first element must name a program.',
      option: 'command',
    })
  }
  return args
}

/**
 * The environment: Docker's defaults, then the image's, then what is given (`undefined` removes). Later values take the place of
 * earlier ones.
 */
export function environment(
  given: Readonly<Record<string, string | undefined>>,
  image: ExecutionParameters,
  defaults: { hostname: string; home: string; tty: boolean },
): string[] {
  const values = new Map<string, string>([
    ['PATH', DEFAULT_PATH],
    ['HOSTNAME', defaults.hostname],
    ...(defaults.tty ? ([['TERM', 'xterm']] as const) : []),
  ])
  for (const entry of image.Env ?? []) {
    const at = entry.indexOf('=')
    if (at > 0) values.set(entry.slice(0, at), entry.slice(at + 1))
  }
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) values.delete(name)
    else values.set(name, value)
  }
  // An empty one counts as none, as with runc.
  if (!values.get('HOME')) values.set('HOME', defaults.home)
  return [...values].map(([name, value]) => `${name}=${value}`)
}
