/** The machine: started with a kernel and two disks, shown as it goes, gone when the guest powers off. */
import { accessSync, constants, readFileSync } from 'node:fs'
import { run } from '../lib/process.mjs'
import { RESULTS } from './recipe.mjs'

/**
 * Both disks are left as they were: the guest writes to a scratch copy.
 * @param {{ kernel: string, disk: string, payload: string, results: string }} options
 * @returns {Promise<number>} exit code of the emulator
 */
export function startMachine({ kernel, disk, payload, results }) {
  const options = {
    accel: accelerator(),
    cpu: 'max',
    smp: '2',
    m: '4096',
    display: 'none',
    kernel,
    append: 'root=/dev/nvme0n1 rw console=ttyS0 quiet systemd.show_status=false',
    drive: [scratch('root', disk), scratch('payload', payload)],
    // Of different kinds: two of one kind would be numbered in the order in which the kernel happens to find them.
    device: [
      'nvme,serial=keelson,drive=root',
      'virtio-blk-pci,drive=payload',
      'virtio-serial-pci',
      `virtserialport,chardev=results,name=${RESULTS}`,
    ],
    chardev: `file,id=results,path=${results}`,
    serial: 'stdio',
    monitor: 'none',
  }
  const args = Object.entries(options).flatMap(([name, value]) =>
    [value].flat().flatMap((one) => [`-${name}`, one]),
  )
  const bare = ['-nodefaults', '-no-user-config', '-no-reboot']
  return run(['nice', 'qemu-system-x86_64', ...bare, ...args])
}

/** A disk that forgets. */
function scratch(id, file) {
  return `id=${id},file=${file},if=none,format=raw,snapshot=on,cache=unsafe`
}

/**
 * KVM where the processor has it. A /dev/kvm without vmx or svm is an emulation for few kinds of guest, and stops this one
 * half way through its boot.
 */
function accelerator() {
  if (process.env.KEELSON_VM_ACCEL) return process.env.KEELSON_VM_ACCEL
  const capable = /^flags\s*:.*\b(?:vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'))
  return capable && writable('/dev/kvm') ? 'kvm' : 'tcg,thread=multi'
}

function writable(path) {
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}
