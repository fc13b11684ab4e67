/** What a validation program found wrong: descriptions of the checks that failed, in order. */
export function failures(output: {
  code: number | null
  stdout: string
  stderr: string
}): string[] {
  const lines = output.stdout.split('\n')
  const failed = lines
    .filter((line) => line.startsWith('not ok') && !/# (TODO|SKIP)/i.test(line))
    .map((line) => line.replace(/^not ok \d+ (- )?/, ''))
  // Some make no checks at all, but say what is wrong beside a plan of none.
  const plan = lines.find((line) => /^1\.\.\d+/.test(line))
  if (plan === '1..0') failed.push(...errors(lines))
  if (output.code !== 0 || (plan === undefined && output.stdout !== '')) {
    failed.push(`exit code ${output.code}: ${output.stderr.trim()}`)
  }
  return failed
}

function errors(lines: string[]): string[] {
  return lines
    .map((line) => /^\s*"error": (".+"),?$/.exec(line)?.[1])
    .filter((text) => text !== undefined)
    .map((text) => JSON.parse(text) as string)
}
