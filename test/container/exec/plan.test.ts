import { expect, test } from 'vitest'
import { planExec, type ExecInput } from '../../../src/container/exec/plan.ts'

const CAPABILITIES = {
  bounding: ['CAP_CHOWN'],
  effective: ['CAP_CHOWN'],
  permitted: ['CAP_CHOWN'],
  inheritable: [],
  ambient: [],
}
function plan(options: ExecInput['options'] = {}, more: Partial<ExecInput> = {}) {
  return planExec({
    config: {
      linux: {},
      process: {
        terminal: false,
        user: { uid: 0, gid: 0, additionalGids: [0] },
        args: ['server'],
        env: ['PATH=/bin', 'HOME=/root', 'A=1'],
        cwd: '/srv',
        capabilities: CAPABILITIES,
        rlimits: [],
        noNewPrivileges: true,
        apparmorProfile: 'keelson-default',
      },
    },
    command: ['ls', '-l'],
    options,
    tty: false,
    users: {
      passwd: 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n',
      group: 'staff:x:50:user\n',
    },
    user: undefined,
    capabilities: ['CAP_CHOWN', 'CAP_SYS_ADMIN'],
    ...more,
  })
}

test('a program is as the container’s own, but for its words', () => {
  const { process, seccomp } = plan()
  expect(process).toMatchObject({
    args: ['ls', '-l'],
    cwd: '/srv',
    env: ['PATH=/bin', 'HOME=/root', 'A=1'],
    user: { uid: 0, gid: 0 },
    capabilities: CAPABILITIES,
    noNewPrivileges: true,
    apparmorProfile: 'keelson-default',
    terminal: false,
  })
  expect(seccomp).toBe('container')
})

test('the environment is added to, and taken from', () => {
  const { process } = plan({ env: { A: undefined, B: '2', PATH: '/usr/bin' } })
  expect(process.env).toEqual(['PATH=/usr/bin', 'HOME=/root', 'B=2'])
  expect(plan({ env: ['A=x=y'] }).process.env).toContain('A=x=y')
})

test('another user has its groups and its home', () => {
  const { process } = plan({ user: 'user' })
  expect(process.user).toEqual({ uid: 1000, gid: 1000, additionalGids: [1000, 50] })
  expect(process.env).toContain('HOME=/home/user')
  expect(plan({ user: 'user', env: { HOME: '/else' } }).process.env).toContain('HOME=/else')
  expect(() => plan({ user: 'nobody' })).toThrow(
    expect.objectContaining({ code: 'KEELSON_USER_NOT_FOUND' }),
  )
})

test('a privileged one has every capability and no filter', () => {
  const { process, seccomp } = plan({ privileged: true })
  expect(process.capabilities.effective).toEqual(['CAP_CHOWN', 'CAP_SYS_ADMIN'])
  expect(process.noNewPrivileges).toBe(false)
  expect(process.apparmorProfile).toBeUndefined()
  expect(seccomp).toBeUndefined()
})

test('a terminal has a size and a name', () => {
  const { process } = plan({}, { tty: { columns: 80, rows: 24 } })
  expect(process).toMatchObject({ terminal: true, consoleSize: { width: 80, height: 24 } })
  expect(process.env).toContain('TERM=xterm')
  expect(plan({ env: { TERM: 'dumb' } }, { tty: true }).process.env).toContain('TERM=dumb')
})

test('what cannot be executed is refused', () => {
  for (const [option, make] of [
    ['command', () => plan({}, { command: [] })],
    ['command', () => plan({}, { command: [''] })],
    ['command', () => plan({}, { command: ['a\0b'] })],
    ['workdir', () => plan({ workdir: 'relative' })],
    ['env', () => plan({ env: { 'A=B': '1' } })],
    ['env', () => plan({ env: { A: 'b\0' } })],
  ] as const) {
    expect(make).toThrow(expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option }))
  }
})
