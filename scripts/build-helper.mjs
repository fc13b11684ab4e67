/**
 * Builds the Rust helper: `node scripts/build-helper.mjs [--target TRIPLE]`.
 *
 * The target is always named, even when it is this machine, so that the executable lies at
 * `helper/target/<triple>/release/keelson-helper`, where `src/runtime/locate.ts` looks, and so that the static
 * linking flags of `helper/.cargo/config.toml` do not reach build-time code. Cargo itself knows whether anything changed.
 */
import { existsSync } from 'node:fs'
import { main, mustRun, output, root } from './lib/process.mjs'

/** npm's name of an architecture -> Rust's target. */
export const TARGETS = {
  x64: 'x86_64-unknown-linux-gnu',
  arm64: 'aarch64-unknown-linux-gnu',
}

/**
 * @param {{ target?: string, quiet?: boolean }} [options]
 * @returns {Promise<string>} the path of the executable
 */
export async function buildHelper({ target = TARGETS[process.arch], quiet = false } = {}) {
  if (!target) throw new Error(`Keelson has no helper for ${process.arch}: x64 and arm64 only.`)
  if (!output(['cargo', '--version'])) {
    throw new Error(
      'Building the helper takes Rust 1.85 or newer (cargo): install it from https://rustup.rs, ' +
        'or set KEELSON_HELPER to a helper that is already built.',
    )
  }
  const command = ['cargo', 'build', '--release', '--locked', '--target', target]
  await mustRun(quiet ? [...command, '--quiet'] : command, {
    cwd: `${root}/helper`,
    // Through this process: where Node has made its own output non-blocking, cargo would fail to write to it.
    onOutput: () => {},
  })
  return `${root}/helper/target/${target}/release/keelson-helper`
}

/** Whether this machine can link for a target that is not its own. */
export function canBuild(target) {
  if (target === TARGETS[process.arch]) return true
  const sysroot = output(['rustc', '--print', 'sysroot'])
  const linker = output(['which', `${target.split('-')[0]}-linux-gnu-gcc`])
  return Boolean(linker && sysroot && existsSync(`${sysroot}/lib/rustlib/${target}/lib`))
}

await main(import.meta, async (args) => {
  const target = args[0] === '--target' ? args[1] : undefined
  console.log(await buildHelper({ target }))
})
