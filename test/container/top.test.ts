import { expect, test } from 'vitest'
import { parseProcess } from '../../src/container/top.ts'

const stat = (name: string, state = 'S') =>
  `4242 (${name}) ${state} 4200 4242 4242 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 12345 1000000 300 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n`
const status = 'Name:\tsleep\nUid:\t1000\t1001\t1000\t1000\nNSpid:\t4242\t7\nVmRSS:\t    1200 kB\n'

test('reads what the kernel says of a process', () => {
  expect(parseProcess(stat('sleep'), status, Buffer.from('sleep\x00100\x00'))).toEqual({
    pid: 4242,
    ppid: 4200,
    containerPid: 7,
    uid: 1001,
    state: 'sleeping',
    cpuMs: 2000,
    rss: 1200 * 1024,
    command: 'sleep',
    args: ['sleep', '100'],
  })
})

test.each([
  ['R', 'running'],
  ['D', 'waiting'],
  ['T', 'stopped'],
  ['t', 'traced'],
  ['Z', 'zombie'],
  ['I', 'idle'],
  ['X', 'dead'],
])('state %s is %s', (letter, state) => {
  expect(parseProcess(stat('x', letter), status, Buffer.alloc(0))?.state).toBe(state)
})

test.each([
  ['a) R 1 1 1 (b', 'a) R 1 1 1 (b'],
  ['x\ny) Z 9', 'x\ufffdy) Z 9'],
  ['\u001b[31mred', '\ufffd[31mred'],
  ['', ''],
])('a process that calls itself %j does not pass for another', (name, command) => {
  expect(parseProcess(stat(name), status, Buffer.from(`${name}\x00`))).toMatchObject({
    pid: 4242,
    ppid: 4200,
    state: 'sleeping',
    command,
  })
})

test('a zombie has neither memory nor arguments', () => {
  const lines = 'Uid:\t0\t0\t0\t0\nNSpid:\t4242\n'
  expect(parseProcess(stat('gone', 'Z'), lines, Buffer.alloc(0))).toMatchObject({
    rss: 0,
    args: [],
    containerPid: 4242,
  })
})

const argsOf = (line: Buffer) => parseProcess(stat('x'), status, line)?.args

test('arguments may be empty, cut off, and anything but text', () => {
  expect(argsOf(Buffer.from('a\x00\x00b\x00'))).toEqual(['a', '', 'b'])
  expect(argsOf(Buffer.from('a\x00cut of'))).toEqual(['a', 'cut of'])
  expect(argsOf(Buffer.from([0x61, 0xff, 0x1b, 0x62, 0]))).toEqual(['a\ufffd\ufffdb'])
})

test('what is no such file is no process', () => {
  expect(parseProcess('', '', Buffer.alloc(0))).toBeUndefined()
  expect(parseProcess(')(', '', Buffer.alloc(0))).toBeUndefined()
})
