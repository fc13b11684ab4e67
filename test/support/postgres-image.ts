import { chmod, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exists, install, type CachedImage } from './busybox-image.ts'
import { debianTree, mirror, packTree, SUITE, writeImage } from './debian-image.ts'
import { run } from './process.ts'
import { cache } from './repository.ts'

const PACKAGE = 'postgresql-15'
const BIN = '/usr/lib/postgresql/15/bin'

/** What the packages bring that a server can do without: most of their size. */
const LEFT_OUT = [
  '/usr/share/doc',
  '/usr/share/man',
  '/usr/share/locale',
  '*/bitcode',
  '*/llvmjit*',
]
const UNUSED = /^(lib(llvm|z3|perl|gdbm|json|c-l10n)|locales|perl|ssl-cert|openssl|.*-common|ucf)/

/**
 * Postgres on {@link debianTree}, used as the image of that name is: `POSTGRES_PASSWORD`, `PGDATA`, the user `postgres`, port 5432. Kept
 * for later runs. Needs root and the Debian mirror that apt uses.
 */
export async function postgresImage(): Promise<CachedImage> {
  const image = { layout: join(cache, 'images', `postgres-${SUITE}-1`), name: 'postgres:15' }
  if (await exists(image.layout)) return image
  const temporary = `${image.layout}.${process.pid}`
  const work = `${temporary}.work`
  try {
    const base = await debianTree()
    const [below, above] = await Promise.all([
      packTree(base, temporary),
      postgresTree(base, work).then((tree) => packTree(tree, temporary)),
    ])
    await writeImage(temporary, image.name, [below, above], {
      Entrypoint: ['docker-entrypoint.sh'],
      Cmd: ['postgres'],
      Env: [
        `PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:${BIN}`,
        'PGDATA=/var/lib/postgresql/data',
        'LANG=C.UTF-8',
      ],
      ExposedPorts: { '5432/tcp': {} },
      StopSignal: 'SIGINT',
    })
    await install(temporary, image.layout)
  } finally {
    await rm(work, { recursive: true, force: true })
    await rm(temporary, { recursive: true, force: true })
  }
  return image
}

/** What is to lie above a minimal Debian. */
async function postgresTree(base: string, work: string): Promise<string> {
  const tree = join(work, 'tree')
  await mkdir(join(tree, 'usr/lib'), { recursive: true })
  // As in the tree below: a directory would hide what is behind the link.
  await symlink('usr/lib', join(tree, 'lib'))
  const packages = await download(base, work)
  for (const file of packages) {
    if (UNUSED.test(file)) continue
    const archive = join(work, 'archives', file)
    await run('bash', [
      '-ec',
      UNPACK,
      archive,
      tree,
      ...LEFT_OUT.map((path) => `--exclude=.${path}`),
    ])
  }
  await write(join(tree, 'usr/local/bin'), 'docker-entrypoint.sh', ENTRYPOINT, 0o755)
  for (const [name, line] of Object.entries(ACCOUNT)) {
    const before = await readFile(join(base, 'etc', name), 'utf8')
    await write(join(tree, 'etc'), name, before + line, 0o644)
  }
  return tree
}

const UNPACK =
  'dpkg-deb --fsys-tarfile "$0" | tar -x -C "$1" --keep-directory-symlink "${@:2}" -f -'

/** The package, and what it needs that the tree has not: nothing is installed, and this machine's lists are not used. */
async function download(base: string, work: string): Promise<string[]> {
  const archives = join(work, 'archives')
  await mkdir(join(archives, 'partial'), { recursive: true })
  await mkdir(join(work, 'lists/partial'), { recursive: true })
  const source = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${await mirror()} ${SUITE} main\n`
  await writeFile(join(work, 'sources.list'), source)
  const settings = {
    'Dir::Etc::sourcelist': join(work, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::lists': join(work, 'lists'),
    'Dir::State::status': join(base, 'var/lib/dpkg/status'),
    'Dir::Cache': work,
    'Dir::Cache::archives': archives,
    'APT::Sandbox::User': 'root',
  }
  const apt = [
    '-q',
    ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
  ]
  await run('apt-get', [...apt, 'update'])
  await run('apt-get', [
    ...apt,
    '-y',
    '--download-only',
    '--no-install-recommends',
    'install',
    PACKAGE,
  ])
  return (await readdir(archives)).filter((name) => name.endsWith('.deb'))
}

async function write(
  directory: string,
  name: string,
  content: string,
  mode: number,
): Promise<void> {
  await mkdir(directory, { recursive: true })
  const path = join(directory, name)
  await writeFile(path, content)
  await chmod(path, mode)
}

const ACCOUNT = {
  passwd: 'postgres:x:999:999::/var/lib/postgresql:/bin/bash\n',
  group: 'postgres:x:999:\n',
}

const ENTRYPOINT = `#!/bin/bash
set -e
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  chown postgres:postgres "$PGDATA" /run/postgresql
  chmod 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "\${POSTGRES_PASSWORD:?is not set: the superuser has no password}"
  initdb --username=postgres --pwfile=<(echo "$POSTGRES_PASSWORD") --auth-local=trust --auth-host=scram-sha-256 --no-sync
  echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec "$@"
`
