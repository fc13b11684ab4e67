import { open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ContainerCgroups } from '../runtime/cgroup.ts'
import { errnoOf, storageError } from '../store/errno.ts'

/**
 * A process of a container. `command` and `args` are the process's own to set, to anything: control characters in them are replaced, and
 * what follows 4096 bytes is cut off.
 */
export interface ContainerProcess {
  /** As this program sees it. */
  pid: number
  /** 0: a process that this program does not see. */
  ppid: number
  /** As the container sees it. */
  containerPid: number
  /** Of this program's user namespace. */
  uid: number
  /** The user's name where one is known, else the number. */
  user: string
  state: ProcessState
  /** Milliseconds on processors. */
  cpuMs: number
  /** Bytes in memory, shared pages included. */
  rss: number
  /** At most 15 bytes: the name of the program or what it calls itself. */
  command: string
  args: string[]
}

export type ProcessState =
  'running' | 'sleeping' | 'waiting' | 'stopped' | 'traced' | 'idle' | 'zombie' | 'dead'

/**
 * The processes of a container and of those cgroups that it made in its own, in order of pid. One that ends meanwhile is left out.
 *
 * @param nameOf the name of a user, by number
 * @throws `KEELSON_PERMISSION`, `KEELSON_IO`
 */
export async function listProcesses(
  cgroups: ContainerCgroups,
  nameOf: (uid: number) => string | undefined = () => undefined,
): Promise<ContainerProcess[]> {
  const directory = cgroups.v2 ?? Object.values(cgroups.v1 ?? {})[0]
  if (directory === undefined) return []
  const pids = [...(await pidsBelow(directory))].sort((a, b) => a - b)
  const found = await Promise.all(pids.map((pid) => readProcess(pid, nameOf)))
  return found.filter((each) => each !== undefined)
}

async function pidsBelow(directory: string): Promise<Set<number>> {
  const pids = new Set<number>()
  const todo = [directory]
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const text = await contentOf(join(next, 'cgroup.procs'))
    // 0 stands for a process that cannot be seen from here.
    for (const pid of (text ?? '').split('\n').map(Number)) if (pid > 0) pids.add(pid)
    for (const entry of (await orGone(next, readdir(next, { withFileTypes: true }))) ?? []) {
      if (entry.isDirectory()) todo.push(join(next, entry.name))
    }
  }
  return pids
}

async function readProcess(
  pid: number,
  nameOf: (uid: number) => string | undefined,
): Promise<ContainerProcess | undefined> {
  const of = (name: string) => `/proc/${pid}/${name}`
  const [stat, status, line] = await Promise.all([
    contentOf(of('stat')),
    contentOf(of('status')),
    commandLine(of('cmdline')),
  ])
  if (stat === undefined || status === undefined) return undefined
  const process = parseProcess(stat, status, line ?? Buffer.alloc(0))
  return process && { ...process, user: nameOf(process.uid) ?? String(process.uid) }
}

/** Files `stat`, `status` and `cmdline` of a process (proc_pid_stat(5)). Pure. */
export function parseProcess(
  stat: string,
  status: string,
  line: Buffer,
): Omit<ContainerProcess, 'user'> | undefined {
  // The name in parentheses may hold parentheses, spaces and line breaks; no field behind it does.
  const [before, close] = [stat.indexOf('('), stat.lastIndexOf(')')]
  if (before < 0 || close < before) return undefined
  const fields = stat.slice(close + 2).split(' ')
  const field = (number: number) => Number(fields[number - 3] ?? 0)
  return {
    pid: Number(stat.slice(0, before)),
    ppid: field(4),
    containerPid: Number(/^NSpid:.*?(\d+)$/m.exec(status)?.[1] ?? 0),
    uid: Number(/^Uid:\t\d+\t(\d+)/m.exec(status)?.[1] ?? 0),
    state: STATES[fields[0] ?? ''] ?? 'dead',
    cpuMs: (field(14) + field(15)) * TICK_MS,
    rss: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024,
    command: visible(stat.slice(before + 1, close)),
    args: argumentsOf(line),
  }
}

const STATES: Partial<Record<string, ProcessState>> = {
  R: 'running',
  S: 'sleeping',
  D: 'waiting',
  T: 'stopped',
  t: 'traced',
  I: 'idle',
  Z: 'zombie',
}

/** USER_HZ, which is 100 on every architecture that Node runs on. */
const TICK_MS = 10

function argumentsOf(line: Buffer): string[] {
  const text = line.toString()
  if (text === '') return []
  return (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0').map(visible)
}

/** No escape sequence of a container may reach the terminal of whoever prints its processes. */
function visible(text: string): string {
  return text.replace(/\p{Cc}/gu, '\ufffd')
}

const MAX_LINE = 4096

async function commandLine(path: string): Promise<Buffer | undefined> {
  const file = await orGone(path, open(path, 'r'))
  if (file === undefined) return undefined
  try {
    const buffer = Buffer.alloc(MAX_LINE)
    const read = await orGone(path, file.read(buffer, 0, MAX_LINE, 0))
    return buffer.subarray(0, read?.bytesRead ?? 0)
  } finally {
    await file.close()
  }
}

function contentOf(path: string): Promise<string | undefined> {
  return orGone(path, readFile(path, 'utf8'))
}

/** Undefined for what has ended meanwhile. */
async function orGone<T>(path: string, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'ENODEV'].includes(errnoOf(error) ?? '')) return undefined
    throw storageError(error, 'read', path)
  }
}
