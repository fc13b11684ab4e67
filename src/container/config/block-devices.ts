import { keelsonError } from '../../errors.ts'
import { hostDevice } from '../../security/host-devices.ts'
import type { NormalizedBlockIo } from '../normalize/io.ts'
import type { OciBlockIo } from './oci-runtime.ts'

/**
 * Limits of block devices, with the devices by number as the kernel knows them.
 *
 * @throws `KEELSON_INVALID_OPTION` for what is no block device
 */
export async function findBlockIo(asked: NormalizedBlockIo | undefined): Promise<OciBlockIo> {
  if (asked === undefined) return {}
  const [weightDevice, readBps, writeBps, readIops, writeIops] = await Promise.all([
    Promise.all(
      asked.weightDevice.map(async ({ path, weight }) => ({
        ...(await blockDevice(path)),
        weight,
      })),
    ),
    throttles(asked.readBps),
    throttles(asked.writeBps),
    throttles(asked.readIops),
    throttles(asked.writeIops),
  ])
  return {
    ...(asked.weight !== undefined && { weight: asked.weight }),
    ...(weightDevice.length > 0 && { weightDevice }),
    ...(readBps.length > 0 && { throttleReadBpsDevice: readBps }),
    ...(writeBps.length > 0 && { throttleWriteBpsDevice: writeBps }),
    ...(readIops.length > 0 && { throttleReadIOPSDevice: readIops }),
    ...(writeIops.length > 0 && { throttleWriteIOPSDevice: writeIops }),
  }
}

function throttles(list: NormalizedBlockIo['readBps']) {
  return Promise.all(list.map(async ({ path, rate }) => ({ ...(await blockDevice(path)), rate })))
}

async function blockDevice(path: string): Promise<{ major: number; minor: number }> {
  const device = await hostDevice(path)
  if (device?.type === 'b') return { major: device.major, minor: device.minor }
  throw keelsonError('KEELSON_INVALID_OPTION', `The host has no block device ${path}.`, {
    option: 'blkio',
    hint: 'Limits are of whole block devices, such as /dev/sda; lsblk lists them.',
  })
}
