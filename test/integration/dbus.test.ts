/** Needs the Debian package `dbus-daemon`: the reference message bus, started by the test on a socket of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DBusConnection } from '../../src/runtime/dbus.ts'
import { startScope } from '../../src/runtime/systemd.ts'
import { stop } from '../support/process.ts'

const BUS = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
}
const soon = () => AbortSignal.timeout(10_000)

let directory: string
let daemon: ReturnType<typeof spawn>
let socket: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-dbus-'))
  // The name that a user's own bus has.
  socket = join(directory, 'bus')
  const config = join(directory, 'bus.conf')
  await writeFile(
    config,
    `<busconfig><type>session</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
     <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`,
  )
  daemon = spawn('dbus-daemon', [`--config-file=${config}`, '--nofork', '--print-address'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const failed = once(daemon, 'error').then(([error]) => {
    throw new Error('install the Debian package dbus-daemon', { cause: error })
  })
  if (daemon.stdout) await Promise.race([once(createInterface(daemon.stdout), 'line'), failed])
})
afterAll(async () => {
  await stop(daemon)
  await rm(directory, { recursive: true })
})

test('a bus answers calls, names what it refuses, and sends the signals asked for', async () => {
  await using bus = await DBusConnection.open(socket, { bus: true, signal: soon() })
  const [id] = await bus.call({ ...BUS, member: 'GetId' })
  expect(id).toMatch(/^[0-9a-f]{32}$/)
  const call = bus.call({ ...BUS, member: 'GetNameOwner', signature: 's', body: ['no.such.name'] })
  await expect(call).rejects.toMatchObject({
    name: 'org.freedesktop.DBus.Error.NameHasNoOwner',
    message: expect.stringContaining('no.such.name'),
  })
  const owned = new Promise((resolve) =>
    bus.onSignal(({ member, body }) => {
      if (member === 'NameOwnerChanged' && body[0] === 'org.keelson.test') resolve(body[2])
    }),
  )
  await bus.match("type='signal',member='NameOwnerChanged'")
  await bus.call({ ...BUS, member: 'RequestName', signature: 'su', body: ['org.keelson.test', 0] })
  expect(await owned).toMatch(/^:1\./)
})

test('calls under way are answered each by its own answer', async () => {
  await using bus = await DBusConnection.open(socket, { bus: true, signal: soon() })
  const names = Array.from({ length: 50 }, (_, at) => `org.keelson.n${at}`)
  const errors = await Promise.all(
    names.map((name) =>
      bus.call({ ...BUS, member: 'GetNameOwner', signature: 's', body: [name] }).catch(String),
    ),
  )
  errors.forEach((error, at) => expect(error).toContain(`n${at}'`))
})

test('a bus without systemd is an error, not a wait', async () => {
  const request = {
    manager: 'user',
    unit: 'keelson-test.scope',
    pid: process.pid,
    runtime: directory,
  } as const
  await expect(startScope(request)).rejects.toThrow(/org\.freedesktop\.systemd1/)
})

test('no manager at all is an error that says where one was looked for', async () => {
  const request = {
    manager: 'user',
    unit: 'keelson-test.scope',
    pid: process.pid,
    runtime: '/nowhere',
  } as const
  await expect(startScope(request)).rejects.toThrow('/nowhere/systemd/private, /nowhere/bus')
})

test.each([
  ['says nothing', () => {}],
  ['closes at once', (peer: NodeJS.WritableStream) => void peer.end()],
  ['speaks something else', (peer: NodeJS.WritableStream) => void peer.write('x'.repeat(9000))],
  ['refuses', (peer: NodeJS.WritableStream) => void peer.write('REJECTED EXTERNAL\r\n')],
  ['sends rubbish', (peer: NodeJS.WritableStream) => void peer.write(`OK 1\r\n${'y'.repeat(99)}`)],
])('a server that %s', async (_, behave) => {
  const path = join(directory, `${Math.random()}`)
  const server = createServer(behave).listen(path)
  await once(server, 'listening')
  const signal = AbortSignal.timeout(200)
  await expect(DBusConnection.open(path, { bus: true, signal })).rejects.toThrow()
  server.close()
})
