import { readFile } from 'node:fs/promises'
import { keelsonError } from '../../errors.ts'
import { decodeSeccomp } from './decode.ts'
import { DEFAULT_PROFILE } from './profile.ts'
import type { LinuxSeccomp, SeccompProfile } from './types.ts'

/** Where a profile comes from: `default`, `unconfined` (no filter), the path of a JSON file, or the profile itself. */
export type SeccompOption = string | SeccompProfile | LinuxSeccomp

/** The kernel takes 4,096 instructions: no profile that fits is larger. */
const MAX_BYTES = 1024 * 1024

/** One decoded profile for the same text, so that its resolution is found again. */
const texts = new Map<string, SeccompProfile | undefined>()
const MAX_TEXTS = 16

/**
 * The profile that the `seccomp` option of a container stands for; undefined: no filter.
 *
 * @param option absent: the default profile, or none for a privileged container, as Docker has it.
 * @throws `KEELSON_INVALID_OPTION` when it cannot be read, is no JSON, or not a profile.
 */
export async function loadSeccomp(
  option: SeccompOption | undefined,
  options: { privileged?: boolean | undefined; signal?: AbortSignal | undefined } = {},
): Promise<SeccompProfile | undefined> {
  if (option === 'unconfined' || (option === undefined && options.privileged)) return undefined
  if (option === undefined || option === 'default') return DEFAULT_PROFILE
  if (typeof option === 'string') return fromText(await read(option, options.signal), option)
  return fromText(JSON.stringify(option), 'given')
}

async function read(path: string, signal?: AbortSignal): Promise<string> {
  try {
    const text = await readFile(path, { encoding: 'utf8', signal })
    if (text.length <= MAX_BYTES) return text
  } catch (cause) {
    if (signal?.aborted) throw keelsonError('KEELSON_ABORTED', 'Aborted.', { cause })
    throw invalid(`The seccomp profile ${path} cannot be read.`, path, cause)
  }
  throw invalid(`The seccomp profile ${path} is larger than ${MAX_BYTES} bytes.`, path)
}

function fromText(text: string, path: string): SeccompProfile | undefined {
  if (texts.has(text)) return texts.get(text)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw invalid(`The seccomp profile ${path} is not JSON.`, path, cause)
  }
  const profile = decodeSeccomp(value)
  if (texts.size >= MAX_TEXTS) texts.clear()
  texts.set(text, profile)
  return profile
}

function invalid(message: string, path: string, cause?: unknown) {
  return keelsonError('KEELSON_INVALID_OPTION', message, {
    hint: "seccomp takes 'default', 'unconfined', the path of a JSON file, or a profile as an object.",
    cause,
    option: 'seccomp',
    path,
  })
}
