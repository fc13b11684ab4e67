import { expect, test } from 'vitest'
import { ProgressReport, type PullProgress } from '../../src/image/progress.ts'
import { digestOf } from '../../src/oci/digest.ts'

function report(sizes: number[]) {
  const events: PullProgress[] = []
  const layers = sizes.map((size, index) => ({ digest: digestOf(`${index}`), size }))
  const made = new ProgressReport(
    layers,
    (event) => events.push(event),
    () => undefined,
  )
  return { made, events, brief: () => events.map(({ status, current }) => [status, current]) }
}

test('tells each layer from waiting to done', () => {
  const { made, brief } = report([100])
  const layer = made.layer(0)
  layer.waiting()
  layer.download(0)
  layer.download(60)
  // Unpacking runs beside the download, which is what is told of.
  layer.unpack(50)
  layer.download(100)
  layer.verify()
  layer.unpack(80)
  layer.finish('done')
  layer.unpack(100)
  expect(brief()).toEqual([
    ['waiting', 0],
    ['downloading', 0],
    ['downloading', 60],
    ['downloading', 100],
    ['verifying', 100],
    ['unpacking', 80],
    ['done', 100],
  ])
})

test('sums up all layers, the same blob as often as it is there', () => {
  const { made, events } = report([100, 300])
  made.layer(0).finish('exists')
  made.layer(1).download(150)
  expect(events.at(-1)?.totals).toEqual({ layers: 2, finished: 1, current: 250, total: 400 })
})

test('does not flood: a hundred steps a layer', () => {
  const { made, events } = report([1_000_000])
  for (let bytes = 0; bytes <= 1_000_000; bytes += 10) made.layer(0).download(bytes)
  expect(events.length).toBeLessThanOrEqual(102)
  expect(events.at(-1)?.current).toBe(1_000_000)
})

test('tells of a layer without bytes', () => {
  const { made, brief } = report([0])
  made.layer(0).waiting()
  made.layer(0).verify()
  made.layer(0).finish('done')
  expect(brief()).toEqual([
    ['waiting', 0],
    ['verifying', 0],
    ['done', 0],
  ])
})
