import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { DBusConnection } from './dbus.ts'
import type { Message, Value } from './dbus-message.ts'

export interface ScopeRequest {
  /** The manager of the system, for root, or of the user. */
  manager: 'system' | 'user'
  /** `keelson-<engine>.scope` */
  unit: string
  /** The process that the scope is to hold. */
  pid: number
  /** `HostFacts.directories.runtime`: where the user's manager listens. */
  runtime?: string | undefined
  signal?: AbortSignal | undefined
}

const MANAGER = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
}
/** systemd answers within milliseconds; a hanging one must not hang the engine. */
const PATIENCE_MS = 5_000

/**
 * Has systemd make a scope: a cgroup of its own with the process in it, handed over for good (`Delegate=yes`), so that
 * cgroups can be made in it without disturbing systemd. The scope vanishes when its last process has ended.
 *
 * Rejects with whatever went wrong: no manager listens, it refuses, it does not answer.
 */
export async function startScope(request: ScopeRequest): Promise<void> {
  const patience = AbortSignal.timeout(PATIENCE_MS)
  const signal = request.signal ? AbortSignal.any([request.signal, patience]) : patience
  const { connection, bus } = await openManager(request, signal)
  try {
    if (bus) {
      await connection.match(`type='signal',interface='${MANAGER.interface}',member='JobRemoved'`)
      await connection.call({ ...MANAGER, member: 'Subscribe' })
    }
    await runJob(connection, request)
  } finally {
    await connection[Symbol.asyncDispose]()
  }
}

/** Only when its job is done does the process stand in the new cgroup. */
async function runJob(connection: DBusConnection, { unit, pid }: ScopeRequest): Promise<void> {
  // The job can be done before its name arrives.
  const results = new Map<Value, string>()
  let wake: (() => void) | undefined
  connection.onSignal(({ member, body }: Message) => {
    if (member !== 'JobRemoved') return
    const [, job = '', , result] = body
    results.set(job, typeof result === 'string' ? result : '')
    wake?.()
  })
  const [job = ''] = await connection.call({
    ...MANAGER,
    member: 'StartTransientUnit',
    signature: 'ssa(sv)a(sa(sv))',
    body: [unit, 'fail', properties(pid), []],
  })
  while (!results.has(job)) {
    await Promise.race([new Promise<void>((resolve) => (wake = resolve)), connection.ended])
  }
  const result = results.get(job)
  if (result !== 'done') throw new Error(`systemd could not start ${unit}: ${result}`)
}

function properties(pid: number): Value[] {
  return [
    ['Description', { signature: 's', value: 'Keelson containers' }],
    ['PIDs', { signature: 'au', value: [pid] }],
    ['Delegate', { signature: 'b', value: true }],
    // A scope that failed would keep its name taken.
    ['CollectMode', { signature: 's', value: 'inactive-or-failed' }],
  ]
}

/** systemd's own socket where there is one: it works without a message bus, as in early boot or a minimal login. */
async function openManager(request: ScopeRequest, signal: AbortSignal) {
  const sockets = managerSockets(request)
  const errors: unknown[] = []
  for (const { path, bus } of sockets) {
    try {
      await access(path)
      return { connection: await DBusConnection.open(path, { bus, signal }), bus }
    } catch (error) {
      errors.push(error)
    }
  }
  const tried = sockets.map(({ path }) => path).join(', ')
  throw new AggregateError(errors, `no systemd ${request.manager} manager listens at ${tried}`)
}

function managerSockets({ manager, runtime }: ScopeRequest): { path: string; bus: boolean }[] {
  if (manager === 'system') {
    return [
      { path: '/run/systemd/private', bus: false },
      { path: '/run/dbus/system_bus_socket', bus: true },
    ]
  }
  if (runtime === undefined) return []
  return [
    { path: join(runtime, 'systemd/private'), bus: false },
    { path: join(runtime, 'bus'), bus: true },
  ]
}
