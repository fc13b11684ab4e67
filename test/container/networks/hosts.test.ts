import { expect, test } from 'vitest'
import { withAddresses, withoutAddresses } from '../../../src/container/networks/hosts.ts'

const file = '127.0.0.1\tlocalhost\n10.0.0.2\tbox\n10.0.0.3 mine'

test('addresses are added at the end, whatever it is', () => {
  expect(withAddresses(file, ['10.1.0.2', 'fd00::2'], 'box')).toBe(
    `${file}\n10.1.0.2\tbox\nfd00::2\tbox\n`,
  )
  expect(withAddresses('', ['10.1.0.2'], 'box')).toBe('10.1.0.2\tbox\n')
})

test('only lines as they were added are taken away', () => {
  expect(withoutAddresses(file, ['10.0.0.2', '10.0.0.3'], 'box')).toBe(
    '127.0.0.1\tlocalhost\n10.0.0.3 mine',
  )
  const added = withAddresses(`${file}\n`, ['10.1.0.2'], 'box')
  expect(withoutAddresses(added, ['10.1.0.2'], 'box')).toBe(`${file}\n`)
})
