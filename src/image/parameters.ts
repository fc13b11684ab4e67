import { keelsonError, KeelsonError } from '../errors.ts'
import { DocumentNode } from '../oci/document.ts'
import { decodeExecution, type ExecutionParameters } from '../oci/image-config.ts'

import { show } from '../util/printable.ts'

/** Names of {@link ExecutionParameters}. */
export const PARAMETERS: ReadonlySet<string> = new Set([
  'User',
  'Env',
  'Entrypoint',
  'Cmd',
  'WorkingDir',
  'ExposedPorts',
  'Volumes',
  'Labels',
  'StopSignal',
  'Healthcheck',
  'Shell',
] satisfies (keyof ExecutionParameters)[])

/**
 * Checks how the caller wants an image to be run, by the rules for what a registry sends: what is made here can be pushed and run.
 *
 * @param given with `null` for a field that is to be taken away
 * @throws `KEELSON_INVALID_OPTION` naming `option`
 */
export function checkParameters(given: unknown, option: string): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid(option, `The option ${option} must be an object, not ${show(given)}.`)
  }
  const unknown = Object.keys(given).find((field) => !PARAMETERS.has(field))
  if (unknown !== undefined) {
    throw invalid(option, `An image's configuration has no ${show(unknown)}.`)
  }
  try {
    decodeExecution(new DocumentNode(given, `option ${option}`, ''))
  } catch (cause) {
    if (KeelsonError.is(cause)) throw invalid(option, cause.message, cause)
    throw cause
  }
}

function invalid(option: string, message: string, cause?: unknown): KeelsonError {
  return keelsonError('KEELSON_INVALID_OPTION', message, {
    option,
    cause,
    hint: `It may have ${[...PARAMETERS].join(', ')}, of the types that Docker gives them: Cmd: ['sh', '-c', 'date'].`,
  })
}
