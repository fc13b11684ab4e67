import { constants } from 'node:fs'
import { access, open, stat } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { keelsonError } from '../errors.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { ExecutionParameters } from '../oci/image-config.ts'
import type { ContentStore } from '../store/content.ts'
import { converting } from '../store/errno.ts'
import { printable } from '../util/printable.ts'
import { readElfAt } from './elf.ts'
import { planFiles, type ImageFiles } from './files.ts'
import { imageFromEntries, type ImageFromOptions } from './from.ts'
import { HostTree } from './host-tree.ts'
import type { LayerEntry } from './layer-entry.ts'
import { LibrarySearch, type LinkedObject } from './libraries.ts'
import { checkParameters } from './parameters.ts'

/** How an image is put together from this host's programs. */
export interface ImageFromHostOptions extends Omit<ImageFromOptions, 'platform'> {
  /** More files, put over the host's. */
  files?: ImageFiles
}

/**
 * Writes an image that holds programs of this host and all that they need to start: shared libraries and the dynamic linker, the
 * interpreters of scripts, symbolic links on the way, and a minimal /etc (users, names, certificate authorities where the host has them).
 *
 * What a program opens only at run time (plug-ins, data files) is not known to it; give that as `files`.
 *
 * `Cmd` is the first program, `Env` a PATH with the directories of all of them; `config` is put over that.
 * The caller holds a lease on the store until the image is named.
 *
 * @param programs names to be looked up on PATH, or paths
 * @returns the descriptor of its manifest
 * @throws `KEELSON_COMMAND_NOT_FOUND`, `KEELSON_COMMAND_NOT_EXECUTABLE`, `KEELSON_LIBRARY_NOT_FOUND`, and what
 *   {@link imageFromFiles} throws
 */
export async function imageFromHost(
  store: ContentStore,
  programs: readonly string[],
  config: ExecutionParameters = {},
  options: ImageFromHostOptions = {},
): Promise<Descriptor> {
  checkParameters(config, 'config')
  const mtime = options.created ?? new Date(0)
  const plan = await planHost(programs, mtime)
  const own = await planFiles(options.files ?? {}, mtime)
  const entries = new Map(plan.entries.map((entry) => [entry.path, entry]))
  for (const entry of own) {
    const path = throughLinks(entry.path, entries)
    entries.set(path, { ...entry, path })
  }
  return await imageFromEntries(
    store,
    entries.values(),
    { ...plan.config, ...config },
    { ...options, by: 'images.fromHost' },
  )
}

/** Where a path ends up when a directory on its way is a symbolic link in the image, as /bin is on most hosts. */
function throughLinks(path: string, entries: Map<string, LayerEntry>): string {
  let rest = path.split('/').slice(1)
  let reached = '/'
  for (let steps = 0; rest.length > 1 && steps < MAX_STEPS; steps++) {
    const [name = '', ...after] = rest
    const entry = entries.get(join(reached, name))
    if (entry?.type === 'link') {
      rest = [...resolve(reached, entry.target).split('/').slice(1), ...after]
      reached = '/'
    } else {
      reached = join(reached, name)
      rest = after
    }
  }
  return join(reached, ...rest)
}

/** Ends a circle of links; no real path has as many components. */
const MAX_STEPS = 1024

/** What an image of host programs is made of. */
export interface HostPlan {
  entries: LayerEntry[]
  config: ExecutionParameters
}

/** Finds everything without writing anything. */
export async function planHost(programs: readonly string[], mtime: Date): Promise<HostPlan> {
  if (programs.length === 0) {
    throw keelsonError('KEELSON_INVALID_OPTION', 'No program is named.', {
      hint: "Name at least one: fromHost(['sh']).",
    })
  }
  const paths = await Promise.all(programs.map(findProgram))
  const collector = new Collector(new HostTree(mtime))
  for (const path of paths) await collector.addProgram(path)
  await collector.addSystemFiles()
  const [first = ''] = programs
  return {
    entries: await collector.tree.entries(),
    config: {
      Cmd: [isAbsolute(first) || !first.includes('/') ? first : resolve(first)],
      Env: [`PATH=${searchPath(paths)}`],
      WorkingDir: '/',
    },
  }
}

const DEFAULT_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']
const MAX_INTERPRETERS = 5
/** Linux reads no more of a script's first line (BINPRM_BUF_SIZE). */
const MAX_SHEBANG = 256

/** Follows what programs need, each file once. */
class Collector {
  readonly tree: HostTree
  readonly #seen = new Set<string>()
  #usesGlibc = false

  constructor(tree: HostTree) {
    this.tree = tree
  }

  /** A program, what it is linked with, or what interprets it. */
  async addProgram(path: string, depth = 0): Promise<void> {
    const realPath = await this.tree.add(path)
    if (this.#seen.has(realPath)) return
    this.#seen.add(realPath)
    const elf = await converting('read', realPath, () => readElfAt(realPath))
    if (elf !== undefined) {
      await this.#addLinked({ path, realPath, elf })
      return
    }
    if (depth >= MAX_INTERPRETERS) return
    for (const interpreter of await interpreters(realPath)) {
      await this.addProgram(interpreter, depth + 1)
    }
  }

  /** A minimal /etc and the directories that programs take for granted. */
  async addSystemFiles(): Promise<void> {
    const { tree } = this
    tree.addText(
      '/etc/passwd',
      'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
    )
    tree.addText('/etc/group', 'root:x:0:\nnogroup:x:65534:\n')
    tree.addText('/etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n')
    for (const path of CERTIFICATES) await tree.addIfPresent(path)
    if (this.#usesGlibc) {
      // Libraries in directories that only ld.so.conf names are found through it.
      await tree.addIfPresent('/etc/ld.so.cache')
    }
    tree.addDirectory('/root', 0o700)
    tree.addDirectory('/tmp', 0o1777)
    for (const path of ['/dev', '/proc', '/sys']) tree.addDirectory(path, 0o755)
  }

  async #addLinked(program: LinkedObject): Promise<void> {
    const { interpreter } = program.elf
    if (interpreter === undefined && program.elf.needed.length === 0) return
    if (interpreter !== undefined) await this.tree.add(interpreter)
    const search = await LibrarySearch.forProgram(program.elf)
    if (search.linker === 'musl') await this.tree.addIfPresent(search.configuration)
    else this.#usesGlibc = true
    const loaded = new Set<string>()
    const queue: LinkedObject[][] = [[program]]
    for (let chain = queue.shift(); chain !== undefined; chain = queue.shift()) {
      const [object] = chain
      if (object === undefined) continue
      await this.#addSpecialFiles(object)
      const wanted = object.elf.needed.map((name) => ({ name, optional: false }))
      if (object.elf.soname === 'libc.so.6') {
        wanted.push(...LOADED_BY_GLIBC.map((name) => ({ name, optional: true })))
      }
      for (const { name, optional } of wanted) {
        if (loaded.has(name) || search.isInterpreter(name)) continue
        loaded.add(name)
        const path = await search.find(name, chain)
        const elf = path === undefined ? undefined : await readElfAt(path)
        if (path !== undefined && elf !== undefined) {
          queue.push([{ path, realPath: await this.tree.add(path), elf }, ...chain])
        } else if (!optional) {
          throw libraryNotFound(name, object.path, program.path)
        }
      }
    }
  }

  /** Data files of libraries whose absence is noticed at once. */
  async #addSpecialFiles({ realPath, elf }: LinkedObject): Promise<void> {
    if (elf.soname?.startsWith('libcrypto.so') === true) {
      for (const path of OPENSSL_CONFIGURATION) await this.tree.addIfPresent(path)
    }
    // Debian's Node keeps some of its built-in modules outside of the program.
    if (/^(?:node|nodejs|libnode\.so.*)$/.test(basename(realPath))) {
      for (const path of await stringsIn(realPath, '/usr/share/nodejs/')) {
        await this.tree.addIfPresent(path)
      }
    }
  }
}

const CERTIFICATES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/ssl/cert.pem',
  '/etc/pki/tls/certs/ca-bundle.crt',
]
const OPENSSL_CONFIGURATION = [
  '/usr/lib/ssl/openssl.cnf',
  '/etc/ssl/openssl.cnf',
  '/etc/pki/tls/openssl.cnf',
]
/** Opened by the C library itself, at run time: thread cancellation, and name service where it is not built in. */
const LOADED_BY_GLIBC = ['libgcc_s.so.1', 'libnss_files.so.2', 'libnss_dns.so.2', 'libresolv.so.2']

async function findProgram(program: string): Promise<string> {
  const directories = [...(process.env['PATH'] ?? '').split(':'), ...DEFAULT_PATH]
  const candidates = program.includes('/')
    ? [resolve(program)]
    : directories.filter(isAbsolute).map((directory) => join(directory, program))
  let present: string | undefined
  for (const path of program === '' ? [] : candidates) {
    const found = await stat(path).catch(() => undefined)
    if (found?.isFile() !== true) continue
    present ??= path
    if (await isExecutable(path)) return path
  }
  if (present !== undefined) {
    throw keelsonError('KEELSON_COMMAND_NOT_EXECUTABLE', `"${present}" is not executable.`, {
      hint: `Make it so: chmod +x ${present}`,
      program,
    })
  }
  throw keelsonError(
    'KEELSON_COMMAND_NOT_FOUND',
    `There is no program "${printable(program)}" on this host.`,
    { hint: 'Install it, add its directory to PATH, or give its path.', program },
  )
}

async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

/** What a script's first line names; with env(1), also the program that it looks up. */
async function interpreters(path: string): Promise<string[]> {
  const line = await firstLine(path)
  const [interpreter, ...args] = line?.split(/[ \t]+/).filter((word) => word !== '') ?? []
  if (interpreter === undefined) return []
  if (basename(interpreter) !== 'env') return [interpreter]
  const program = args.find((word) => !word.startsWith('-') && !word.includes('='))
  return program === undefined ? [interpreter] : [interpreter, await findProgram(program)]
}

async function firstLine(path: string): Promise<string | undefined> {
  return await converting('read', path, async () => {
    const file = await open(path, 'r')
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_SHEBANG), 0, MAX_SHEBANG, 0)
      const text = buffer.toString('utf8', 0, bytesRead)
      return text.startsWith('#!') ? text.slice(2).split('\n')[0] : undefined
    } finally {
      await file.close()
    }
  })
}

/** Paths below `prefix` that stand in a file as C strings. */
async function stringsIn(path: string, prefix: string): Promise<string[]> {
  const found = new Set<string>()
  const file = await open(path, 'r')
  try {
    let tail = ''
    for await (const chunk of file.createReadStream({ autoClose: false, encoding: 'latin1' })) {
      const text = tail + String(chunk)
      for (const match of text.matchAll(/\/[\w./@+-]+(?=\0)/g)) {
        if (match[0].startsWith(prefix)) found.add(match[0])
      }
      tail = text.slice(-4096)
    }
  } finally {
    await file.close()
  }
  return [...found]
}

/** The usual directories, and before them those of the programs that lie elsewhere. */
function searchPath(programs: string[]): string {
  const others = programs
    .map((path) => dirname(path))
    .filter((path) => !DEFAULT_PATH.includes(path))
  return [...new Set(others), ...DEFAULT_PATH].join(':')
}

function libraryNotFound(name: string, needing: string, program: string) {
  return keelsonError(
    'KEELSON_LIBRARY_NOT_FOUND',
    `"${needing}" needs the shared library "${printable(name)}", which is not on this host.`,
    {
      hint: `${program} does not start here either; install what is missing.`,
      library: name,
      program,
    },
  )
}
