/** What is tested, as a second disk for the guest: the checkout, built, with the packages its tests load. */
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { mustRun, root } from '../lib/process.mjs'
import { makeDisk } from './image.mjs'

const PARTS = [
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
  'build',
  'dist',
  'src',
  'test',
  'torture',
  'scripts',
]
const HELPER = 'helper/target/x86_64-unknown-linux-gnu/release/keelson-helper'

/** What no test in the guest loads: compilers, linters, documentation. */
const LEFT_OUT = new Set([
  '@arethetypeswrong',
  '@oxlint',
  '@oxlint-tsgolint',
  '@oxc-parser',
  '@oxc-resolver',
  '@shikijs',
  '@types',
  'knip',
  'oxlint',
  'oxlint-tsgolint',
  'oxc-parser',
  'prettier',
  'typedoc',
  'typescript',
])

/**
 * @param {{ folder: string, node: string, plan: object }} options `node`: a newer Node than the guest's own; `plan`: what
 *   `guest.mjs` is to do
 * @returns {Promise<string>} the disk
 */
export async function makePayload({ folder, node, plan }) {
  const staging = `${folder}/payload`
  mkdirSync(`${staging}/helper/target/x86_64-unknown-linux-gnu/release`, { recursive: true })
  const copies = PARTS.map((part) => [`${root}/${part}`, `${staging}/${part}`])
  copies.push([`${root}/${HELPER}`, `${staging}/${HELPER}`], [node, `${staging}/node`])
  // images that tests made on this side, where there is a network to make them from
  const images = '.cache/images'
  mkdirSync(`${staging}/${images}`, { recursive: true })
  if (existsSync(`${root}/${images}`)) copies.push([`${root}/${images}`, `${staging}/${images}`])
  for (const [from, to] of copies) cpSync(from, to, { recursive: true, verbatimSymlinks: true })
  copyModules(staging)
  // what the test runner makes there when it first runs would be root's
  mkdirSync(`${staging}/node_modules/.vite-temp`, { recursive: true })
  writeFileSync(`${staging}/plan.json`, JSON.stringify(plan))
  // the tests of the ordinary user write their caches beside what they test
  await mustRun(['chmod', '-R', 'a+rwX', staging])
  const disk = `${folder}/payload.ext4`
  await makeDisk(staging, disk, '2G')
  rmSync(staging, { recursive: true })
  return disk
}

function copyModules(staging) {
  cpSync(`${root}/node_modules`, `${staging}/node_modules`, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => !LEFT_OUT.has(path.slice(`${root}/node_modules/`.length)),
  })
}
