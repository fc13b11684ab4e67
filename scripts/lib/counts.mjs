/** Counting tests across runners, and the closing line that says so. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'

/**
 * @typedef {{ passed: number, failed: number, skipped: { name: string, reason?: string }[], failures: string[] }} Counts
 */

/** @returns {Counts} */
export const none = () => ({ passed: 0, failed: 0, skipped: [], failures: [] })

/** @param {Counts[]} parts @returns {Counts} */
export function sum(parts) {
  return {
    passed: parts.reduce((total, part) => total + part.passed, 0),
    failed: parts.reduce((total, part) => total + part.failed, 0),
    skipped: parts.flatMap((part) => part.skipped),
    failures: parts.flatMap((part) => part.failures),
  }
}

/** The counts of a step that is one thing: it held, or it failed. What held is not counted as a test. */
export function failedStep(title) {
  return { ...none(), failed: 1, failures: [title] }
}

/**
 * Runs `action(reportFile)`, which returns an exit code, and reads the file that {@link file://./reporter.mjs} wrote.
 * A runner that fails without naming a failed test is itself one.
 * @returns {Promise<Counts>}
 */
export async function countVitest(title, action) {
  const folder = mkdtempSync(`${tmpdir()}/keelson-report-`)
  try {
    const file = `${folder}/report.json`
    const code = await action(file)
    if (!existsSync(file)) return failedStep(`${title}: ended with exit code ${code} and no report`)
    return checkCode(title, code, JSON.parse(readFileSync(file, 'utf8')))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @returns {Counts} what cargo's test runner says of itself */
export function countCargo(title, code, text) {
  const counts = none()
  for (const [, passed, failed] of text.matchAll(
    /^test result: .*? (\d+) passed; (\d+) failed;/gm,
  )) {
    counts.passed += Number(passed)
    counts.failed += Number(failed)
  }
  for (const [, name, result, reason] of text.matchAll(
    /^test (.+?) \.\.\. (FAILED|ignored)(?:, (.+))?$/gm,
  )) {
    if (result === 'FAILED') counts.failures.push(`${title}: ${name}`)
    else counts.skipped.push({ name: `${title}: ${name}`, reason })
  }
  return checkCode(title, code, counts)
}

/** An exit code that the counts do not explain is a failure of its own. */
export function checkCode(title, code, counts) {
  if (code === 0 || counts.failed > 0) return counts
  return sum([counts, failedStep(`${title}: ended with exit code ${code}`)])
}

/** Says what failed and what was skipped and why, and then the closing line. */
export function close(counts) {
  if (counts.skipped.length > 0) {
    console.log('\nSkipped:')
    for (const { name, reason } of counts.skipped)
      console.log(`  ${name}: ${reason ?? 'no reason'}`)
  }
  if (counts.failures.length > 0) {
    console.log('\nFailed:')
    for (const name of counts.failures) console.log(`  ${name}`)
  }
  closingLine({ ...counts, skipped: counts.skipped.length })
}

/** The last line, alone; and the exit code that goes with it. A run of no test is a failure. */
export function closingLine({ passed, failed, skipped }) {
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`)
  if (failed > 0 || passed === 0) process.exitCode = 1
}

/** Reads the closing line back. @returns {{ passed: number, failed: number, skipped: number } | undefined} */
export function readClosing(text) {
  const last = [...text.matchAll(/^(\d+) passed, (\d+) failed, (\d+) skipped$/gm)].at(-1)
  if (!last) return undefined
  const [passed, failed, skipped] = last.slice(1).map(Number)
  return { passed, failed, skipped }
}
