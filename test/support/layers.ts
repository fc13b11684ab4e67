import { gzipSync } from 'node:zlib'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { MEDIA_TYPES, type Compression } from '../../src/oci/media-types.ts'
import { run } from './process.ts'

/** One entry of a tar archive, every field as a test wants it: nothing is checked and nothing is made safe. */
export interface TarEntry {
  name: string | Uint8Array
  /** The type flag: `0` file, `1` hard link, `2` symbolic link, `3` and `4` devices, `5` directory, `6` FIFO, `x`, `g`, `L`, `K`, ... */
  type?: string
  mode?: number
  uid?: number
  gid?: number
  /** Seconds. */
  mtime?: number
  linkname?: string | Uint8Array
  content?: string | Uint8Array
  /** What the header says instead of the content's length; negative and beyond 8 GiB in base 256. */
  size?: number
  devmajor?: number
  devminor?: number
  uname?: string
  gname?: string
  /** Records of a PAX header before the entry; values may be binary. */
  pax?: Record<string, string | Uint8Array>
  /** The name, or link name, in a GNU `L` or `K` entry before this one. */
  gnuLongName?: string | Uint8Array
  gnuLongLink?: string | Uint8Array
  /** Default: USTAR's `ustar\0` and `00`. GNU's is `ustar  \0`. */
  magic?: string
  /** Instead of the right one. */
  checksum?: number
}

const BLOCK = 512

/** The bytes of an archive; with `end: false`, without the two blocks of zeros. */
export function tar(entries: TarEntry[], { end = true }: { end?: boolean } = {}): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(end ? 2 * BLOCK : 0)])
}

/** One entry: the headers it wants before it, its own header, its content padded to whole blocks. */
export function tarEntry(entry: TarEntry): Buffer {
  const content = Buffer.from(entry.content ?? '')
  const before: Buffer[] = []
  if (entry.pax !== undefined) {
    const records = Object.entries(entry.pax).map(([key, value]) => paxRecord(key, value))
    before.push(tarEntry({ name: 'PaxHeaders/x', type: 'x', content: Buffer.concat(records) }))
  }
  if (entry.gnuLongLink !== undefined) before.push(gnuLong('K', entry.gnuLongLink))
  if (entry.gnuLongName !== undefined) before.push(gnuLong('L', entry.gnuLongName))
  return Buffer.concat([...before, header(entry, content.length), padded(content)])
}

/** `<length> <key>=<value>\n`, where the length counts itself. */
export function paxRecord(key: string, value: string | Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')])
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) {
    length = String(length).length + rest.length
  }
  return Buffer.concat([Buffer.from(String(length)), rest])
}

/** A layer as an image has it: packed bytes, and the digest of what is in them. */
export interface TestLayer {
  bytes: Buffer
  mediaType: string
  digest: Digest
  diffId: Digest
}

const LAYER_TYPES: Record<Compression, string> = {
  none: MEDIA_TYPES.ociLayer,
  gzip: MEDIA_TYPES.ociLayerGzip,
  zstd: MEDIA_TYPES.ociLayerZstd,
}

/** Packs an archive, or entries, as a layer. */
export async function layer(
  archive: Buffer | TarEntry[],
  compression: Compression = 'gzip',
): Promise<TestLayer> {
  const plain = Array.isArray(archive) ? tar(archive) : archive
  const bytes = await compress(plain, compression)
  return {
    bytes,
    mediaType: LAYER_TYPES[compression],
    digest: digestOf(bytes),
    diffId: digestOf(plain),
  }
}

async function compress(plain: Buffer, compression: Compression): Promise<Buffer> {
  switch (compression) {
    case 'none':
      return plain
    case 'gzip':
      return gzipSync(plain)
    case 'zstd':
      // Node 20 has no zstd of its own.
      return (await run('zstd', ['-q', '-c'], { input: plain })).bytes
    default:
      return compression satisfies never
  }
}

function header(entry: TarEntry, contentLength: number): Buffer {
  const block = Buffer.alloc(BLOCK)
  const type = entry.type ?? '0'
  text(block, entry.name, 0, 100)
  number(block, entry.mode ?? (type === '5' ? 0o755 : 0o644), 100, 8)
  number(block, entry.uid ?? 0, 108, 8)
  number(block, entry.gid ?? 0, 116, 8)
  number(block, entry.size ?? contentLength, 124, 12)
  number(block, entry.mtime ?? 0, 136, 12)
  block.fill(' ', 148, 156)
  text(block, type, 156, 1)
  text(block, entry.linkname ?? '', 157, 100)
  text(block, entry.magic ?? 'ustar\x0000', 257, 8)
  text(block, entry.uname ?? '', 265, 32)
  text(block, entry.gname ?? '', 297, 32)
  number(block, entry.devmajor ?? 0, 329, 8)
  number(block, entry.devminor ?? 0, 337, 8)
  const sum = entry.checksum ?? block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

function text(block: Buffer, value: string | Uint8Array, offset: number, length: number): void {
  Buffer.from(value).subarray(0, length).copy(block, offset)
}

/** Octal digits, or two's complement in base 256 with the highest bit set where digits do not suffice. */
function number(block: Buffer, value: number, offset: number, length: number): void {
  const digits = value.toString(8)
  if (value >= 0 && digits.length < length) {
    block.write(`${digits.padStart(length - 1, '0')}\0`, offset, 'latin1')
    return
  }
  let rest = BigInt(value)
  for (let index = offset + length - 1; index >= offset; index--) {
    block[index] = Number(rest & 0xffn)
    rest >>= 8n
  }
  if (value >= 0) block[offset] = (block[offset] ?? 0) | 0x80
}

function gnuLong(type: string, value: string | Uint8Array): Buffer {
  const content = Buffer.concat([Buffer.from(value), Buffer.from('\0')])
  return tarEntry({ name: '././@LongLink', type, content, magic: 'ustar  \0' })
}

function padded(content: Buffer): Buffer {
  const rest = content.length % BLOCK
  return rest === 0 ? content : Buffer.concat([content, Buffer.alloc(BLOCK - rest)])
}
