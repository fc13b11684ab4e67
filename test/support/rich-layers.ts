import type { TarEntry } from './layers.ts'

/** `cap_net_raw+ep`, as the kernel keeps it. */
export const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex')

/**
 * Three layers with everything that layers can say: owners, modes with set-id bits, times, links, devices, binary extended attributes,
 * whiteouts, opaque directories, directories that are implied, hard links to files below, and files that change their kind.
 */
export const RICH_LAYERS: TarEntry[][] = [
  [
    { name: './', type: '5', mode: 0o711, uid: 7, gid: 8, mtime: 1_000_000_000 },
    { name: 'etc/', type: '5', mode: 0o750, uid: 5, gid: 6, mtime: 1_100_000_000 },
    { name: 'etc/base', content: 'base\n', uid: 5, gid: 6, mtime: 1_100_000_001 },
    { name: 'etc/twin', type: '1', linkname: 'etc/base' },
    { name: 'gone/', type: '5', mtime: 1_200_000_000 },
    { name: 'gone/a', content: 'a' },
    { name: 'gone/b', content: 'b' },
    { name: 'hidden/', type: '5', mode: 0o700, mtime: 1_200_000_001 },
    { name: 'hidden/old', content: 'old' },
    { name: 'hidden/below/', type: '5' },
    { name: 'hidden/below/old', content: 'old' },
    { name: 'kind/', type: '5' },
    { name: 'kind/directory/', type: '5' },
    { name: 'kind/directory/inside', content: 'inside' },
    { name: 'kind/link', type: '2', linkname: 'directory' },
    { name: 'kind/file', content: 'file' },
    { name: 'bin/', type: '5', mtime: 1_300_000_000 },
    { name: 'bin/su', mode: 0o4755, content: '#!/bin/su\n', mtime: 1_300_000_001 },
    {
      name: 'bin/ping',
      mode: 0o755,
      content: '#!/bin/ping\n',
      pax: { 'SCHILY.xattr.security.capability': CAPABILITY, mtime: '1300000002.123456789' },
    },
    {
      name: 'bin/noted',
      content: 'noted',
      pax: { 'SCHILY.xattr.user.note': Buffer.from([0, 1, 2, 0xff, 10, 61]) },
    },
    { name: 'dev/', type: '5' },
    { name: 'dev/null', type: '3', mode: 0o666, devmajor: 1, devminor: 3 },
    { name: 'dev/fifo', type: '6', mode: 0o600 },
    { name: 'tmp/', type: '5', mode: 0o1777, mtime: 1_400_000_000 },
    {
      name: `${'long'.repeat(30)}/${'name'.repeat(30)}`,
      gnuLongName: `tmp/${'n'.repeat(200)}`,
      content: 'n',
    },
    { name: 'x', pax: { path: 'tmp/größe' }, content: 'utf-8' },
  ],
  [
    { name: 'gone/.wh.a' },
    { name: 'hidden/', type: '5', mode: 0o755, mtime: 1_500_000_000 },
    { name: 'hidden/.wh..wh..opq' },
    { name: 'hidden/new', content: 'new' },
    // etc/ is implied, and the file below is linked to.
    { name: 'etc/third', type: '1', linkname: 'etc/base' },
    { name: 'etc/more', content: 'more', mtime: 1_500_000_001 },
    { name: 'kind/.wh.directory' },
    { name: 'kind/directory', content: 'a file now' },
    { name: 'kind/link', content: 'a file now' },
    { name: 'kind/file', type: '5', mtime: 1_500_000_002 },
    { name: 'kind/file/inside', content: 'inside' },
  ],
  [
    { name: 'gone/a', content: 'again', mtime: 1_600_000_000 },
    { name: '.wh.tmp' },
    { name: 'bin/su', type: '2', linkname: 'ping', mtime: 1_600_000_001 },
  ],
]
