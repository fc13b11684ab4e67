/** What the guest is made of: a small Debian 13 as users have it, with systemd, cgroup v2 and AppArmor. */
import { createHash } from 'node:crypto'
import { DEBIAN_PACKAGES } from '../debian-packages.mjs'

export const SUITE = 'trixie'
export const MIRROR = process.env.KEELSON_DEBIAN_MIRROR ?? 'http://deb.debian.org/debian'

/** The ordinary user of the guest. */
export const USER = 'tester'

export const PACKAGES = [
  // the cloud kernel has NVMe and ext4 built in: no initrd to unpack; udev loads the module of the other disk
  'linux-image-cloud-amd64',
  'systemd-sysv',
  'udev',
  'kmod',
  'dbus',
  'dbus-user-session',
  'libpam-systemd',
  'apparmor',
  'passwd',
  'login',
  'util-linux',
  'procps',
  'iproute2',
  'ca-certificates',
  'nodejs',
  ...Object.keys(DEBIAN_PACKAGES),
  // a package of its own since Debian 13
  'docker-cli',
]

/** The payload's disk is mounted here: the checkout, built. */
export const PAYLOAD = '/keelson'

/** Where the guest hands its results over: a virtio port that is a file on this side. */
export const RESULTS = 'keelson.results'

/** path in the guest -> content */
export const FILES = {
  '/etc/hostname': 'guest\n',
  '/etc/hosts': '127.0.0.1 localhost guest\n::1 localhost\n',
  [`/etc/systemd/system${PAYLOAD}.mount`]: `[Unit]
DefaultDependencies=no
Conflicts=umount.target
Before=local-fs.target umount.target

[Mount]
What=/dev/vda
Where=${PAYLOAD}
Type=ext4
`,
  // the machine ends with the tests, whatever became of them
  '/etc/systemd/system/keelson-tests.service': `[Unit]
Description=Keelson's tests
RequiresMountsFor=${PAYLOAD}
After=systemd-user-sessions.service systemd-logind.service dbus.service apparmor.service
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart=/usr/bin/node ${PAYLOAD}/scripts/vm/guest.mjs
Environment=HOME=/root TMPDIR=/var/tmp
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
TimeoutStartSec=infinity
`,
}

/** Run in the new root file system before it becomes a disk. */
export const SETUP = `
set -e
useradd --create-home --shell /bin/bash ${USER}
# a machine of its own, with an identity made at first boot
: > /etc/machine-id
mkdir -p ${PAYLOAD} /etc/systemd/system/multi-user.target.wants
ln -s ../keelson-tests.service /etc/systemd/system/multi-user.target.wants/
mkdir -p /var/lib/systemd/linger
touch /var/lib/systemd/linger/${USER}
# nothing but the tests has work here
systemctl mask docker-registry.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer getty@tty1.service serial-getty@ttyS0.service
rm -f /boot/initrd.img*
`

/** Names the image: another recipe is another image. */
export function recipeHash() {
  const recipe = JSON.stringify([SUITE, MIRROR, PACKAGES, FILES, SETUP])
  return createHash('sha256').update(recipe).digest('hex').slice(0, 16)
}
