import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

interface Pair {
  cert: Buffer
  key: Buffer
}

/** An authority, and certificates by it for a server on loopback and for a client. */
export interface TestCertificates {
  ca: Buffer
  server: Pair
  client: Pair
}

export function makeCertificates(): TestCertificates {
  const directory = mkdtempSync(join(tmpdir(), 'keelson-'))
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' })
  const read = (name: string) => readFileSync(join(directory, name))
  const newKey = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '2',
  ]
  try {
    openssl(
      'req',
      '-x509',
      ...newKey,
      '-subj',
      '/CN=authority',
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
    )
    writeFileSync(join(directory, 'names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
    for (const name of ['server', 'client']) {
      openssl(
        'req',
        ...newKey.slice(0, -2),
        '-subj',
        `/CN=${name}`,
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.csr`,
      )
      openssl(
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-days',
        '2',
        '-extfile',
        'names',
        '-out',
        `${name}.crt`,
      )
    }
    const pair = (name: string): Pair => ({ cert: read(`${name}.crt`), key: read(`${name}.key`) })
    return { ca: read('ca.crt'), server: pair('server'), client: pair('client') }
  } finally {
    rmSync(directory, { recursive: true })
  }
}
