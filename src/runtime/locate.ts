import { accessSync, constants } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { keelsonError } from '../errors.ts'

const TRIPLES: Record<string, string> = {
  x64: 'x86_64-unknown-linux-gnu',
  arm64: 'aarch64-unknown-linux-gnu',
}

/**
 * Path of the helper executable: `KEELSON_HELPER`, else the platform package, else the checkout's own build.
 *
 * @throws `KEELSON_HELPER_NOT_FOUND`, whose message names all three places
 */
export function locateHelper(
  environment: NodeJS.ProcessEnv = process.env,
  arch: string = process.arch,
): string {
  const asked = environment['KEELSON_HELPER']
  if (asked !== undefined && asked !== '') {
    if (executable(asked)) return asked
    throw keelsonError(
      'KEELSON_HELPER_NOT_FOUND',
      `KEELSON_HELPER names ${asked}, which is not an executable file.`,
      { hint: 'Unset KEELSON_HELPER to use the bundled helper, or correct the path.', path: asked },
    )
  }
  const packageName = `@keelson/helper-linux-${arch}`
  const bundled = platformPackage(packageName)
  if (bundled !== undefined && executable(bundled)) return bundled
  const built = checkoutBuild(arch)
  if (built !== undefined && executable(built)) return built
  throw keelsonError(
    'KEELSON_HELPER_NOT_FOUND',
    `No helper executable: KEELSON_HELPER is not set, the package ${packageName} is not installed, and there is no build at ${built ?? `(no build is known for ${arch})`}.`,
    {
      hint: `Install with optional dependencies (npm install keelson, without --omit=optional), or in a checkout run: npm run build:helper`,
    },
  )
}

function platformPackage(name: string): string | undefined {
  try {
    return resolve(`${name}/bin/keelson-helper`)
  } catch {
    return undefined
  }
}

function checkoutBuild(arch: string): string | undefined {
  const triple = TRIPLES[arch]
  if (triple === undefined) return undefined
  // By this package's own name: its modules are bundled, so none of them knows how deep it lies.
  const checkout = dirname(resolve('keelson/package.json'))
  return join(checkout, 'helper', 'target', triple, 'release', 'keelson-helper')
}

function resolve(specifier: string): string {
  return createRequire(import.meta.url).resolve(specifier)
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
