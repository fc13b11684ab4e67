import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { readElfAt, type Elf } from './elf.ts'

/** `e_machine` -> what the dynamic linkers call the architecture. */
const MACHINES: Partial<Record<number, { platform: string; triplets: string[] }>> = {
  3: { platform: 'i686', triplets: ['i386-linux-gnu'] },
  21: { platform: 'powerpc64le', triplets: ['powerpc64le-linux-gnu'] },
  22: { platform: 's390x', triplets: ['s390x-linux-gnu'] },
  40: { platform: 'v7l', triplets: ['arm-linux-gnueabihf', 'arm-linux-gnueabi'] },
  62: { platform: 'x86_64', triplets: ['x86_64-linux-gnu'] },
  183: { platform: 'aarch64', triplets: ['aarch64-linux-gnu'] },
  243: { platform: 'riscv64', triplets: ['riscv64-linux-gnu'] },
}

/** A program or library whose dependencies are to be found. */
export interface LinkedObject {
  /** As it is opened. */
  path: string
  /** The same with no symbolic link in it. */
  realPath: string
  elf: Elf
}

/** Finds shared libraries as the dynamic linker of one program would: glibc's (ld.so(8)) or musl's. */
export class LibrarySearch {
  readonly linker: 'glibc' | 'musl'
  /** The file that names the linker's directories. */
  readonly configuration: string
  readonly #program: Elf
  readonly #directories: string[]

  private constructor(
    program: Elf,
    directories: string[],
    linker: 'glibc' | 'musl',
    configuration: string,
  ) {
    this.#program = program
    this.#directories = directories
    this.linker = linker
    this.configuration = configuration
  }

  /** @param etc where the linker's configuration lies; `/etc`, but for tests */
  static async forProgram(program: Elf, etc = '/etc'): Promise<LibrarySearch> {
    const arch = /\/ld-musl-(?<arch>[^/]+)\.so\.1$/.exec(program.interpreter ?? '')?.groups?.[
      'arch'
    ]
    const linker = arch === undefined ? 'glibc' : 'musl'
    const file = join(etc, arch === undefined ? 'ld.so.conf' : `ld-musl-${arch}.path`)
    const directories =
      linker === 'musl' ? await muslDirectories(file) : await glibcDirectories(program, file)
    return new LibrarySearch(program, directories, linker, file)
  }

  /** musl's linker is its C library: a need for it is met when the program starts. */
  isInterpreter(name: string): boolean {
    return (
      this.linker === 'musl' && /^(?:libc\.so|libc\.musl-.+\.so\.1|ld-musl-.+\.so\.1)$/.test(name)
    )
  }

  /**
   * @param loaders the object that needs the library and those that needed it, nearest first
   * @returns the path under which the linker would open it
   */
  async find(name: string, loaders: LinkedObject[]): Promise<string | undefined> {
    if (name.includes('/')) return this.#fits(name)
    for (const directory of this.#searchPath(loaders)) {
      const found = await this.#fits(join(directory, name))
      if (found !== undefined) return found
    }
    return undefined
  }

  #searchPath(loaders: LinkedObject[]): string[] {
    const [needing] = loaders
    const own = needing?.elf.runpath ?? []
    // A RUNPATH counts for its own object alone and switches RPATH off; musl makes no difference between the two and inherits both.
    const inherited = loaders.flatMap((loader) => {
      if (this.linker === 'musl')
        return expand(loader, [...loader.elf.runpath, ...loader.elf.rpath])
      return own.length === 0 && loader.elf.runpath.length === 0
        ? expand(loader, loader.elf.rpath)
        : []
    })
    const runpath = needing === undefined || this.linker === 'musl' ? [] : expand(needing, own)
    return [...inherited, ...runpath, ...this.#directories]
  }

  /** A library of another class or machine is passed over, as the linker does. */
  async #fits(path: string): Promise<string | undefined> {
    const elf = await readElfAt(path)
    return elf?.bits === this.#program.bits && elf.machine === this.#program.machine
      ? path
      : undefined
  }
}

/** Dynamic string tokens of ld.so(8). */
function expand({ path, realPath, elf }: LinkedObject, entries: string[]): string[] {
  const platform = MACHINES[elf.machine]?.platform ?? ''
  const libraries = [
    elf.bits === 64 ? 'lib64' : 'lib',
    ...triplets(elf).map((name) => `lib/${name}`),
  ]
  return entries.flatMap((entry) => {
    // The linker takes the origin of the program from its real path, and that of a library from the path it was found by.
    const origins = new Set([dirname(realPath), dirname(path)])
    return [...origins].flatMap((origin) =>
      libraries.map((lib) =>
        resolve(
          entry
            .replace(/\$(?:ORIGIN\b|\{ORIGIN\})/g, () => origin)
            .replace(/\$(?:LIB\b|\{LIB\})/g, () => lib)
            .replace(/\$(?:PLATFORM\b|\{PLATFORM\})/g, () => platform),
        ),
      ),
    )
  })
}

async function glibcDirectories(program: Elf, configuration: string): Promise<string[]> {
  const wide = program.bits === 64 ? ['/lib64', '/usr/lib64'] : ['/lib32', '/usr/lib32']
  const multiarch = triplets(program).flatMap((name) => [`/lib/${name}`, `/usr/lib/${name}`])
  const configured = await readConfiguration(configuration, new Set())
  return [...configured, ...multiarch, ...wide, '/lib', '/usr/lib']
}

async function muslDirectories(configuration: string): Promise<string[]> {
  const text = await readFile(configuration, 'utf8').catch(() => '')
  const configured = text.split(/[:\n]/).filter((part) => part !== '')
  return configured.length > 0 ? configured : ['/lib', '/usr/local/lib', '/usr/lib']
}

/** ld.so.conf: directories, and `include` of other files with a pattern in the last component. */
async function readConfiguration(path: string, seen: Set<string>): Promise<string[]> {
  if (seen.has(path)) return []
  seen.add(path)
  const text = await readFile(path, 'utf8').catch(() => '')
  const directories: string[] = []
  for (const line of text.split('\n').map((part) => part.replace(/#.*/, '').trim())) {
    const include = /^include\s+(?<patterns>.+)$/.exec(line)?.groups?.['patterns']
    if (include === undefined) {
      directories.push(...line.split(/[\s:,]+/).filter((part) => part.startsWith('/')))
      continue
    }
    for (const pattern of include.split(/\s+/)) {
      for (const file of await matching(resolve(dirname(path), pattern))) {
        directories.push(...(await readConfiguration(file, seen)))
      }
    }
  }
  return directories
}

async function matching(pattern: string): Promise<string[]> {
  const directory = dirname(pattern)
  const name = pattern.slice(directory.length + 1)
  const escaped = name.replace(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
  const expression = new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`)
  const names = await readdir(directory).catch(() => [])
  return names
    .filter((entry) => expression.test(entry))
    .sort()
    .map((entry) => join(directory, entry))
}

function triplets({ machine }: Elf): string[] {
  return MACHINES[machine]?.triplets ?? []
}
