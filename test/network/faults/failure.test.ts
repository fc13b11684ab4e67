import { describe, expect, test } from 'vitest'
import { faultError } from '../../../src/network/faults/failure.ts'
import { helperError } from '../../../src/runtime/connection.ts'

const [EPERM, ENOENT, EAFNOSUPPORT, EOPNOTSUPP] = [1, 2, 97, 95]
const failed = (step: string, errno: number) => helperError('network.faults', { step, errno })

describe('what a kernel lacks', () => {
  test.each([
    ['make the chain netdev egress', EOPNOTSUPP, /what the host sends/],
    ['make the table bridge keelson-faults-1', EAFNOSUPPORT, /in bridges/],
    ['make the chain bridge prerouting', ENOENT, /in bridges/],
    ['make veth kf-1', EOPNOTSUPP, /veth/],
    ['open the port for packets', EAFNOSUPPORT, /packet sockets/],
    ['open a netlink socket', EAFNOSUPPORT, /^nf_tables$/],
  ])('is told of "%s"', (step, errno, feature) => {
    expect(faultError(failed(step, errno))).toMatchObject({
      code: 'KEELSON_UNSUPPORTED',
      feature: expect.stringMatching(feature) as string,
      hint: expect.any(String) as string,
    })
  })

  test('is something else than what was not allowed, or went wrong', () => {
    expect(faultError(failed('make veth kf-1', EPERM))).toMatchObject({
      code: 'KEELSON_PERMISSION',
    })
    const other = failed('lead 0e:00:00:00:00:01 to kf-1', ENOENT)
    expect(faultError(other)).toBe(other)
  })
})
