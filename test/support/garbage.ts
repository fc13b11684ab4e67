import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** How many of these are still held by something, after everything else was collected. */
export async function countHeld(objects: WeakRef<object>[]): Promise<number> {
  // What a turn of the event loop still holds is let go with it.
  for (let turn = 0; turn < 3; turn++) {
    await new Promise((resolve) => setImmediate(resolve))
    collect()
  }
  return objects.filter((object) => object.deref() !== undefined).length
}
