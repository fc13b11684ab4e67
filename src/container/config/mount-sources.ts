import { mkdir, readFile, realpath } from 'node:fs/promises'
import { keelsonError } from '../../errors.ts'
import type { NormalizedMount } from '../../volume/mount-spec.ts'

type Bind = Extract<NormalizedMount, { type: 'bind' }>

/**
 * What has to hold of the host's side of bind mounts before a container starts: sources that are to be made exist, and one whose mounts
 * are to travel lies on a mount that lets them.
 *
 * @throws `KEELSON_MOUNT_FAILED`
 */
export async function prepareMountSources(mounts: readonly NormalizedMount[]): Promise<void> {
  const binds = mounts.filter((mount) => mount.type === 'bind')
  await Promise.all(binds.filter(({ create }) => create).map(makeSource))
  const travelling = binds.filter(({ propagation }) => !propagation.endsWith('private'))
  if (travelling.length === 0) return
  const table = parseMounts(await readFile('/proc/self/mountinfo', 'utf8'))
  for (const bind of travelling) refusePrivate(bind, await realpath(bind.source), table)
}

async function makeSource({ source }: Bind): Promise<void> {
  try {
    await mkdir(source, { recursive: true, mode: 0o755 })
  } catch (cause) {
    // A file is a source too; mkdir says EEXIST of it.
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return
    throw keelsonError(
      'KEELSON_MOUNT_FAILED',
      `The source of a mount cannot be made: ${source} (${(cause as NodeJS.ErrnoException).code}).`,
      {
        cause,
        path: source,
        hint: 'Make it yourself, or name a directory that this user may make.',
      },
    )
  }
}

/** Marking a mount as shared in the container alone would join it to nobody: silently, nothing would travel. */
function refusePrivate(
  { source, propagation }: Bind,
  real: string,
  table: readonly HostMount[],
): void {
  // The last one mounted at the longest path is the one that is seen.
  const mount = table.findLast(({ point }) => isWithin(real, point))
  const shared = mount?.optional.some((field) => field.startsWith('shared:')) === true
  const slave = mount?.optional.some((field) => field.startsWith('master:')) === true
  const wanted = propagation.endsWith('shared') ? 'shared' : 'shared or slave'
  if (shared || (slave && wanted !== 'shared')) return
  throw keelsonError(
    'KEELSON_MOUNT_FAILED',
    `The source of a mount with propagation ${propagation} is on no ${wanted} mount: ${source}.`,
    {
      path: source,
      hint: `Run "mount --make-shared ${mount?.point ?? '/'}" on the host, or leave propagation out.`,
    },
  )
}

interface HostMount {
  point: string
  optional: string[]
}

/** proc_pid_mountinfo(5): `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw`; outer mounts first. */
function parseMounts(text: string): HostMount[] {
  const mounts = text.split('\n').flatMap((line) => {
    const words = line.split(' ')
    const point = words[4]
    return point === undefined
      ? []
      : [{ point: unescape(point), optional: words.slice(6, words.indexOf('-')) }]
  })
  return mounts.toSorted((a, b) => a.point.length - b.point.length)
}

/** Blanks and backslashes are octal there. */
function unescape(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}

function isWithin(path: string, directory: string): boolean {
  return directory === '/' || path === directory || path.startsWith(`${directory}/`)
}
