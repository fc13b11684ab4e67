import { writeFile } from 'node:fs/promises'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readElfAt } from '../../src/image/elf.ts'
import { temporaryDirectory } from '../support/temp.ts'

interface Shape {
  bits: 32 | 64
  big: boolean
}

const STRINGS = [
  '',
  'libone.so.1',
  'libtwo.so',
  '$ORIGIN/../lib:/opt/lib',
  'self.so.3',
  '/lib/ld.so',
]

/** A program header table, a dynamic section and its strings, and nothing else: loaded at 0x10000. */
function elfFile({ bits, big }: Shape): Buffer {
  const wide = bits === 64
  const file = Buffer.alloc(1024)
  const half = (value: number, at: number) =>
    big ? file.writeUInt16BE(value, at) : file.writeUInt16LE(value, at)
  const int = (value: number, at: number) =>
    big ? file.writeUInt32BE(value, at) : file.writeUInt32LE(value, at)
  const word = (value: number, at: number) => {
    if (!wide) return int(value, at)
    return big ? file.writeBigUInt64BE(BigInt(value), at) : file.writeBigUInt64LE(BigInt(value), at)
  }
  file.write('\x7fELF', 'latin1')
  file[4] = wide ? 2 : 1
  file[5] = big ? 2 : 1
  half(62, 18)
  word(64, wide ? 32 : 28)
  const entry = wide ? 56 : 32
  half(entry, wide ? 54 : 42)
  half(3, wide ? 56 : 44)
  const offsets = STRINGS.map(
    (_, index) => STRINGS.slice(0, index).join('\0').length + (index && 1),
  )
  const segment = (index: number, type: number, offset: number, size: number) => {
    const at = 64 + index * entry
    int(type, at)
    word(offset, at + (wide ? 8 : 4))
    word(0x10000 + offset, at + (wide ? 16 : 8))
    word(size, at + (wide ? 32 : 16))
  }
  segment(0, 1, 0, 1024)
  segment(1, 2, 300, 200)
  segment(2, 3, 600 + (offsets[5] ?? 0), 11)
  const dynamic = [
    [5, 0x10000 + 600],
    [1, offsets[1]],
    [1, offsets[2]],
    [29, offsets[3]],
    [14, offsets[4]],
    [0, 0],
    [1, offsets[4]],
  ]
  for (const [index, [tag = 0, value = 0]] of dynamic.entries()) {
    word(tag, 300 + index * (bits / 4))
    word(value, 300 + index * (bits / 4) + bits / 8)
  }
  file.write(STRINGS.join('\0'), 600, 'latin1')
  return file
}

describe('an ELF file', () => {
  test.each<Shape>([
    { bits: 64, big: false },
    { bits: 64, big: true },
    { bits: 32, big: false },
    { bits: 32, big: true },
  ])('of $bits bits, big-endian $big', async (shape) => {
    await using temp = await temporaryDirectory()
    await writeFile(temp.join('elf'), elfFile(shape))
    expect(await readElfAt(temp.join('elf'))).toEqual({
      bits: shape.bits,
      machine: 62,
      interpreter: '/lib/ld.so',
      needed: ['libone.so.1', 'libtwo.so'],
      soname: 'self.so.3',
      rpath: [],
      runpath: ['$ORIGIN/../lib', '/opt/lib'],
    })
  })

  test('is not what is empty, text, a directory or missing', async () => {
    await using temp = await temporaryDirectory()
    await writeFile(temp.join('empty'), '')
    await writeFile(temp.join('text'), '#!/bin/sh\n'.repeat(20))
    await writeFile(temp.join('short'), elfFile({ bits: 64, big: false }).subarray(0, 60))
    for (const name of ['empty', 'text', 'short', '.', 'missing']) {
      expect(await readElfAt(temp.join(name))).toBeUndefined()
    }
  })

  test('however broken, is read or refused', async () => {
    await using temp = await temporaryDirectory()
    const change = fc.record({
      at: fc.integer({ min: 4, max: 700 }),
      value: fc.integer({ min: 0, max: 255 }),
    })
    const changes = fc.array(change, { minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<32 | 64>(32, 64),
        fc.boolean(),
        changes,
        async (bits, big, all) => {
          const file = elfFile({ bits, big })
          for (const { at, value } of all) file[at] = value
          await writeFile(temp.join('elf'), file)
          const elf = await readElfAt(temp.join('elf'))
          expect(elf === undefined || elf.needed.every((name) => name.length <= 4096)).toBe(true)
        },
      ),
      { numRuns: 300 },
    )
  })
})
