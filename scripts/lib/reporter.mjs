/**
 * A vitest reporter that writes down what {@link file://./counts.mjs} adds up: vitest's own JSON leaves out the reasons of
 * skipped tests and the errors that no test caught.
 *
 * The file is named by KEELSON_REPORT.
 */
import { writeFileSync } from 'node:fs'

export default class CountReporter {
  onTestRunEnd(modules, unhandled) {
    const report = { passed: 0, failed: unhandled.length, skipped: [], failures: [] }
    for (const error of unhandled) report.failures.push(`outside any test: ${error.message}`)
    for (const module of modules) {
      if (module.errors().length > 0) {
        report.failed += 1
        report.failures.push(`${module.relativeModuleId}: could not be run`)
      }
      for (const suite of module.children.allSuites()) {
        if (suite.errors().length === 0) continue
        report.failed += 1
        report.failures.push(`${module.relativeModuleId} > ${suite.fullName}: hook failed`)
      }
      for (const test of module.children.allTests()) count(report, module, test)
    }
    writeFileSync(process.env.KEELSON_REPORT, JSON.stringify(report))
  }
}

function count(report, module, test) {
  const name = `${module.relativeModuleId} > ${test.fullName}`
  const { state, note } = test.result()
  if (state === 'passed') report.passed += 1
  else if (state === 'skipped') report.skipped.push({ name, reason: note })
  else {
    // 'pending': the run was cut short before this test had its turn
    report.failed += 1
    report.failures.push(name)
  }
}
