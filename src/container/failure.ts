/** The one place where the helper's facts about a failed start become an error of the engine. */
import { keelsonError, KeelsonError } from '../errors.ts'
import { linkFailure } from '../network/failure.ts'
import { helperFailure } from '../runtime/connection.ts'
import type { HelperFailure } from '../runtime/protocol.ts'

interface StartContext {
  args: readonly string[]
  env: readonly string[]
}

/** What to say of a container that could not be started. Errors that are not the helper's come back as they are. */
export function startFailure(error: unknown, context: StartContext): unknown {
  const failure = helperFailure(error)
  if (failure === undefined || !KeelsonError.is(error)) return error
  const init = { cause: error, step: failure.step, errno: failure.errno }
  const [command = ''] = context.args
  switch (failure.kind ?? '') {
    case 'command-not-found':
      return keelsonError(
        'KEELSON_COMMAND_NOT_FOUND',
        `The container has no program ${JSON.stringify(command)}.`,
        { ...init, command, hint: notFoundHint(command, context.env) },
      )
    case 'command-not-executable':
      return keelsonError(
        'KEELSON_COMMAND_NOT_EXECUTABLE',
        `The program ${JSON.stringify(command)} cannot be executed${because(failure)}.`,
        {
          ...init,
          command,
          hint: 'It must be a file with execute permission for this user, for this processor, whose interpreter is in the image.',
        },
      )
    case 'mount-source-missing':
      return keelsonError(
        'KEELSON_MOUNT_FAILED',
        `The source of a mount does not exist: ${failure.path ?? failure.detail ?? failure.step}.`,
        {
          ...init,
          path: failure.path,
          hint: 'Create it first, or give the mount { create: true }.',
        },
      )
    case 'limit-unsupported':
      return keelsonError(
        'KEELSON_CGROUP_UNAVAILABLE',
        `A limit cannot be applied on this host (${sentence(failure)}).`,
        { ...init, hint: 'engine.doctor() says which limits this host has, and the remedy.' },
      )
    case 'device-missing':
      return keelsonError(
        'KEELSON_INVALID_OPTION',
        `The host has no device ${failure.path ?? ''}.`,
        { ...init, option: 'devices', hint: 'List those that exist.' },
      )
    case 'capability-missing':
      return keelsonError(
        'KEELSON_UNSUPPORTED',
        `This process cannot give a container ${failure.detail ?? 'that capability'}.`,
        { ...init, hint: 'It can only give what it has itself.' },
      )
    case 'port-in-use':
    case 'port-unsupported':
    case 'address-missing':
      return portFailure(failure, init)
    case 'idmap-unsupported':
      return keelsonError(
        'KEELSON_UNSUPPORTED',
        `The file system of ${failure.path ?? 'a mount'} cannot be shown with other ids${because(failure)}.`,
        { ...init, path: failure.path, hint: 'Leave idmap out, or put it on ext4, xfs or btrfs.' },
      )
    case 'peer-not-running':
      return keelsonError(
        'KEELSON_CONTAINER_STATE',
        'The container whose namespaces are joined has ended.',
        { ...init, hint: 'Start it first.' },
      )
    case 'out-of-memory':
      return keelsonError(
        'KEELSON_OUT_OF_MEMORY',
        'The memory limit is too small for the program to start.',
        { ...init, hint: 'Give more memory.' },
      )
    case 'not-running':
    case 'paused':
      return keelsonError(
        'KEELSON_CONTAINER_STATE',
        failure.kind === 'paused' ? 'The container is paused.' : 'The container does not run.',
        { ...init, hint: failure.kind === 'paused' ? 'Unpause it first.' : 'Start it first.' },
      )
    case 'terminal-unavailable':
      return keelsonError(
        'KEELSON_START_FAILED',
        `The container cannot give its program a terminal (${sentence(failure)}).`,
        { ...init, hint: 'It needs a devpts file system of its own at /dev/pts.' },
      )
    case 'cancelled':
    case 'killed':
      return keelsonError('KEELSON_ABORTED', 'The container was killed while it started.', init)
    default:
      return byErrno(failure, init)
  }
}

/** What to warn of, as code and sentence, when the helper says that it did something differently. */
export function startWarning(text: string): [code: string, message: string] {
  const clamped = /^RLIMIT_(\w+): (\w+) lowered to (\w+)$/.exec(text)
  if (clamped === null) return ['container-start', text]
  const [, name = '', asked = '', given = ''] = clamped
  return [
    'ulimit-clamped',
    `The ulimit ${name.toLowerCase()} is ${given} instead of ${asked}: this process may not raise it further.`,
  ]
}

/** Its detail is `tcp 0.0.0.0:80`. */
function portFailure({ kind, detail = '' }: HelperFailure, init: object): KeelsonError {
  const [, protocol = '', address = '', text = ''] = /^(\w+) \[?(.*?)\]?:(\d+)$/.exec(detail) ?? []
  const port = Number(text)
  const facts = { ...init, protocol, address, port }
  if (kind === 'port-unsupported') {
    return keelsonError(
      'KEELSON_UNSUPPORTED',
      `The kernel of this host cannot publish ${port}/${protocol} at ${address}.`,
      { ...facts, hint: 'SCTP needs the kernel module sctp, and IPv6 must not be disabled.' },
    )
  }
  if (kind === 'address-missing') {
    return keelsonError('KEELSON_INVALID_OPTION', `This host has no address ${address}.`, {
      ...facts,
      option: 'ports',
      hint: 'Publish at one that it has, or at none in particular.',
    })
  }
  return keelsonError(
    'KEELSON_PORT_IN_USE',
    `The port ${port}/${protocol} of the host is in use.`,
    {
      ...facts,
      hint: 'Publish another, or none, to have a free one chosen; `ss -lntup` shows who has it.',
    },
  )
}

function byErrno(failure: HelperFailure, init: object): KeelsonError {
  const unsupported = linkFailure(failure, init)
  if (unsupported !== undefined) return unsupported
  const what = `The container could not be set up (${sentence(failure)}).`
  switch (failure.errno ?? '') {
    case 'ENOSPC':
    case 'EDQUOT':
      return keelsonError('KEELSON_NO_SPACE', what, {
        ...init,
        hint: "Free space or inodes on the file system of the engine's root, or prune images.",
      })
    case 'EPERM':
    case 'EACCES':
      return keelsonError('KEELSON_PERMISSION', what, {
        ...init,
        hint: 'engine.doctor() says which rights are missing on this host.',
      })
    default: {
      const code = failure.step.startsWith('mount')
        ? 'KEELSON_MOUNT_FAILED'
        : 'KEELSON_START_FAILED'
      return keelsonError(code, what, {
        ...init,
        hint: 'engine.doctor() says what this host cannot do.',
      })
    }
  }
}

function sentence({ step, path, errno, detail }: HelperFailure): string {
  return [step, path, errno, detail].filter((part) => part !== undefined && part !== '').join(': ')
}

function because(failure: HelperFailure): string {
  return failure.errno === undefined ? '' : ` (${failure.errno})`
}

function notFoundHint(command: string, env: readonly string[]): string {
  if (command.includes('/'))
    return 'Check the path, and that the interpreter the program names is in the image.'
  const path = env.find((line) => line.startsWith('PATH='))?.slice('PATH='.length) ?? ''
  return `It was looked for in ${path === '' ? 'no directory: PATH is empty' : path}.`
}
