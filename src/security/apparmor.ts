import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { APPARMOR_PROFILE, appArmorProfile } from './apparmor-profile.ts'

/** The profile to run a container under, or why there is none although the host has AppArmor. */
export interface AppArmor {
  /** `process.apparmorProfile` of an OCI configuration. */
  profile?: string
  /** What the user should know: the container runs without this wall. */
  warning?: { code: 'apparmor-parser-missing' | 'apparmor-profile-refused'; message: string }
}

/** Where the kernel lists the profiles it has, one `name (mode)` a line. */
const LOADED = '/sys/kernel/security/apparmor/profiles'
const PARSERS = ['/usr/sbin/apparmor_parser', '/sbin/apparmor_parser', '/usr/bin/apparmor_parser']

/** The list is long, and every container asks: for this many milliseconds the profile is taken to be where it was seen. */
const REMEMBERED = 1000
let seenUntil = 0

let loading: Promise<AppArmor> | undefined

/**
 * Sees to it that the default profile is in the kernel: looked for first, loaded by `apparmor_parser` when it is not
 * there yet, which happens once a boot. Failing to is a warning, not an error: AppArmor is a wall behind other walls, and a
 * kernel can have it without its tools.
 *
 * Only for root: an ordinary user can neither see nor load profiles.
 *
 * @param host `HostFacts.apparmor`: whether the kernel has AppArmor enabled
 */
export async function ensureAppArmorProfile(host: { apparmor: boolean }): Promise<AppArmor> {
  if (!host.apparmor || process.geteuid?.() !== 0) return {}
  if (performance.now() < seenUntil) return { profile: APPARMOR_PROFILE }
  if (await isLoaded()) {
    seenUntil = performance.now() + REMEMBERED
    return { profile: APPARMOR_PROFILE }
  }
  // Containers that start together share one attempt; a later one tries anew.
  loading ??= load().finally(() => (loading = undefined))
  return loading
}

/** Whether profiles can be loaded on this host. */
export async function appArmorParserInstalled(): Promise<boolean> {
  return (await firstExisting(PARSERS)) !== undefined
}

async function isLoaded(): Promise<boolean> {
  const loaded = await readFile(LOADED, 'utf8').catch(() => '')
  return loaded.split('\n').some((line) => line.startsWith(`${APPARMOR_PROFILE} (`))
}

async function load(): Promise<AppArmor> {
  const parser = await firstExisting(PARSERS)
  if (!parser) {
    return {
      warning: {
        code: 'apparmor-parser-missing',
        message:
          'Containers run without an AppArmor profile: apparmor_parser is not installed (Debian package apparmor).',
      },
    }
  }
  const [owner, abi3] = await Promise.all([
    ownProfile(),
    firstExisting(['/etc/apparmor.d/abi/3.0']),
  ])
  const failure = await parse(parser, appArmorProfile({ owner, abi3: abi3 !== undefined }))
  if (failure === undefined) return { profile: APPARMOR_PROFILE }
  return {
    warning: {
      code: 'apparmor-profile-refused',
      message: `Containers run without an AppArmor profile: apparmor_parser refused it (${failure}).`,
    },
  }
}

/** Replaces the profile in the kernel, without the parser's cache on disk. */
async function parse(parser: string, profile: string): Promise<string | undefined> {
  const child = spawn(parser, ['--replace', '--skip-cache'], { stdio: ['pipe', 'ignore', 'pipe'] })
  // A parser that ends early closes its input; its exit says why.
  child.stdin.on('error', () => {})
  child.stdin.end(profile)
  try {
    const [[code], stderr] = await Promise.all([once(child, 'close'), text(child.stderr)])
    return code === 0 ? undefined : stderr.trim().split('\n').at(-1) || `exit code ${code}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** `name (mode)` of this process's own profile, or `unconfined`. */
async function ownProfile(): Promise<string | undefined> {
  const current = await readFile('/proc/self/attr/current', 'utf8').catch(() => '')
  return /^([^\0\n]+?) \(\w+\)/.exec(current)?.[1]
}

async function firstExisting(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const found = await access(path).then(
      () => true,
      () => false,
    )
    if (found) return path
  }
  return undefined
}
