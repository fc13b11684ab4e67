import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './process.ts'

/** PEM texts, and the files they are in. */
export interface KeyPair {
  cert: string
  key: string
  certFile: string
  keyFile: string
}

/** A certificate authority, a server's certificate for 127.0.0.1 and localhost, and a client's. */
export interface Certificates {
  ca: KeyPair
  server: KeyPair
  client: KeyPair
}

/** Makes certificates that are good for a day, in a directory of the test. */
export async function certificates(directory: string): Promise<Certificates> {
  const ca = await certificate(directory, 'ca', ['-addext', 'basicConstraints=critical,CA:TRUE'])
  const names = 'subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost'
  return {
    ca,
    server: await certificate(directory, 'server', ['-addext', names], ca),
    client: await certificate(directory, 'client', ['-addext', 'extendedKeyUsage=clientAuth'], ca),
  }
}

async function certificate(
  directory: string,
  name: string,
  extensions: string[],
  issuer?: KeyPair,
): Promise<KeyPair> {
  const [certFile, keyFile] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)]
  const subject = ['-subj', `/CN=keelson test ${name}`, ...extensions]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile]
  if (issuer === undefined) {
    await run('openssl', ['req', '-x509', ...key, ...subject, '-days', '1', '-out', certFile])
  } else {
    const request = await run('openssl', ['req', ...key, ...subject, '-out', '-'])
    const signer = ['-CA', issuer.certFile, '-CAkey', issuer.keyFile, '-CAcreateserial']
    const { stdout } = await run(
      'openssl',
      ['x509', '-req', ...signer, '-days', '1', '-copy_extensions', 'copy'],
      { input: request.stdout },
    )
    await writeFile(certFile, stdout)
  }
  const [cert, keyText] = await Promise.all(
    [certFile, keyFile].map((file) => readFile(file, 'utf8')),
  )
  return { cert: cert ?? '', key: keyText ?? '', certFile, keyFile }
}
