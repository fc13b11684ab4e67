import { open, type FileHandle } from 'node:fs/promises'

/** What the dynamic linker would have to know of a program or shared library. */
export interface Elf {
  bits: 32 | 64
  /** `e_machine`: 62 is x86-64, 183 is AArch64. */
  machine: number
  /** `PT_INTERP`: the dynamic linker that the program asks for. */
  interpreter?: string
  /** `DT_NEEDED`, in order. */
  needed: string[]
  soname?: string
  /** `DT_RPATH`, split at the colons. The linker ignores it in an object that has a RUNPATH. */
  rpath: string[]
  /** `DT_RUNPATH`, split at the colons. */
  runpath: string[]
}

const MAX_PROGRAM_HEADERS = 4096
const MAX_DYNAMIC_BYTES = 1024 * 1024
/** PATH_MAX of Linux; a name longer than that cannot be opened. */
const MAX_STRING = 4096

const PT_LOAD = 1
const PT_DYNAMIC = 2
const PT_INTERP = 3
const DT_NULL = 0
const DT_NEEDED = 1
const DT_STRTAB = 5
const DT_SONAME = 14
const DT_RPATH = 15
const DT_RUNPATH = 29

/** A part of the file that is mapped, or read, by itself. */
interface Segment {
  type: number
  offset: number
  address: number
  size: number
}

/**
 * Reads the parts of an ELF file that dynamic linking depends on (System V ABI, chapters 4 and 5; both classes, both byte orders).
 *
 * @returns `undefined` for anything that is not ELF, or is so broken that the kernel would not run it
 */
export async function readElf(file: FileHandle): Promise<Elf | undefined> {
  const ident = await readAt(file, 0, 64)
  if (ident.length < 52 || ident.readUInt32BE(0) !== 0x7f454c46) return undefined
  const bits = ident[4] === 2 ? 64 : 32
  const reader = new FieldReader(ident[5] === 2, bits)
  if (bits === 64 && ident.length < 64) return undefined
  const segments = await readSegments(file, ident, reader)
  if (segments === undefined) return undefined
  const elf: Elf = {
    bits,
    machine: reader.half(ident, 18),
    needed: [],
    rpath: [],
    runpath: [],
  }
  const interpreter = segments.find(({ type }) => type === PT_INTERP)
  if (interpreter !== undefined) elf.interpreter = await readString(file, interpreter.offset)
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC)
  if (dynamic !== undefined) await readDynamic(file, reader, dynamic, segments, elf)
  return elf
}

/** The same for a path; `undefined` also when it cannot be opened or is no file. */
export async function readElfAt(path: string): Promise<Elf | undefined> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch {
    return undefined
  }
  try {
    return (await file.stat()).isFile() ? await readElf(file) : undefined
  } finally {
    await file.close()
  }
}

async function readSegments(
  file: FileHandle,
  header: Buffer,
  reader: FieldReader,
): Promise<Segment[] | undefined> {
  const wide = reader.bits === 64
  const offset = reader.word(header, wide ? 32 : 28)
  const entrySize = reader.half(header, wide ? 54 : 42)
  const count = reader.half(header, wide ? 56 : 44)
  if (entrySize < (wide ? 56 : 32) || count > MAX_PROGRAM_HEADERS) return undefined
  const table = await readAt(file, offset, entrySize * count)
  if (table.length < entrySize * count) return undefined
  return Array.from({ length: count }, (_, index) => {
    const entry = table.subarray(index * entrySize)
    return {
      type: reader.int(entry, 0),
      offset: reader.word(entry, wide ? 8 : 4),
      address: reader.word(entry, wide ? 16 : 8),
      size: reader.word(entry, wide ? 32 : 16),
    }
  })
}

async function readDynamic(
  file: FileHandle,
  reader: FieldReader,
  dynamic: Segment,
  segments: Segment[],
  elf: Elf,
): Promise<void> {
  const width = reader.bits / 8
  const table = await readAt(file, dynamic.offset, Math.min(dynamic.size, MAX_DYNAMIC_BYTES))
  const entries: [tag: number, value: number][] = []
  for (let at = 0; at + 2 * width <= table.length; at += 2 * width) {
    const tag = reader.word(table, at)
    if (tag === DT_NULL) break
    entries.push([tag, reader.word(table, at + width)])
  }
  const address = entries.find(([tag]) => tag === DT_STRTAB)?.[1]
  const strings = address === undefined ? undefined : fileOffset(segments, address)
  if (strings === undefined) return
  for (const [tag, value] of entries) {
    if (tag === DT_NEEDED) elf.needed.push(await readString(file, strings + value))
    if (tag === DT_SONAME) elf.soname = await readString(file, strings + value)
    if (tag === DT_RPATH) elf.rpath = splitPath(await readString(file, strings + value))
    if (tag === DT_RUNPATH) elf.runpath = splitPath(await readString(file, strings + value))
  }
}

/** `DT_STRTAB` is an address in memory; the segment that is loaded there says where it is in the file. */
function fileOffset(segments: Segment[], address: number): number | undefined {
  const segment = segments.find(
    ({ type, address: start, size }) =>
      type === PT_LOAD && address >= start && address < start + size,
  )
  return segment === undefined ? undefined : segment.offset + (address - segment.address)
}

function splitPath(text: string): string[] {
  return text.split(':').filter((part) => part !== '')
}

async function readString(file: FileHandle, offset: number): Promise<string> {
  const bytes = await readAt(file, offset, MAX_STRING)
  const end = bytes.indexOf(0)
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end)
}

/** Up to `length` bytes; fewer at the end of the file, none for an offset that no file has. */
async function readAt(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  if (!Number.isSafeInteger(offset + length)) return Buffer.alloc(0)
  const buffer = Buffer.alloc(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return buffer.subarray(0, filled)
}

/** Numbers in the file's byte order; a word is as wide as the file's class. */
class FieldReader {
  readonly bits: 32 | 64
  readonly #big: boolean

  constructor(big: boolean, bits: 32 | 64) {
    this.#big = big
    this.bits = bits
  }

  half(bytes: Buffer, at: number): number {
    return this.#big ? bytes.readUInt16BE(at) : bytes.readUInt16LE(at)
  }

  int(bytes: Buffer, at: number): number {
    return this.#big ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at)
  }

  word(bytes: Buffer, at: number): number {
    if (this.bits === 32) return this.int(bytes, at)
    return Number(this.#big ? bytes.readBigUInt64BE(at) : bytes.readBigUInt64LE(at))
  }
}
