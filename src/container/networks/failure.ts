import { KeelsonError, keelsonError } from '../../errors.ts'
import { helperFailure } from '../../runtime/connection.ts'
import { linkFailure } from '../../network/failure.ts'

/** What to say when a monitor could not change the networks of its container. Other errors come back as they are. */
export function networkFailure(error: unknown, container: string): unknown {
  const failure = helperFailure(error)
  if (failure === undefined || !KeelsonError.is(error)) return error
  const { step, path, errno, detail } = failure
  const what = [step, path, errno, detail].filter(Boolean).join(': ')
  // The failure stays with it: what was not done is given back.
  const facts = { cause: error, step, errno, failure }
  return (
    linkFailure(failure, facts) ??
    keelsonError(
      'KEELSON_NETWORK_FAILED',
      `The networks of the container ${container} could not be changed (${what}).`,
      { ...facts, hint: 'They are as they were. engine.doctor() says what this host cannot do.' },
    )
  )
}
