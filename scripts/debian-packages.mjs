/**
 * The Debian packages that the tests need, and what for. This file is the only list:
 * `scripts/bootstrap.mjs` installs it, `test/support/global-setup.ts` checks it.
 */

/**
 * Package name -> a program or file that it brings, by which its presence is seen without asking dpkg; or several, of
 * which one is enough.
 */
export const DEBIAN_PACKAGES = {
  // registries and images written by other tools
  'docker-registry': '/usr/bin/docker-registry',
  'apache2-utils': '/usr/bin/htpasswd',
  skopeo: '/usr/bin/skopeo',
  umoci: '/usr/bin/umoci',
  buildah: '/usr/bin/buildah',
  openssl: '/usr/bin/openssl',
  // what a container's configuration is compared with; its init is a package of its own
  'docker.io': '/usr/sbin/dockerd',
  podman: '/usr/bin/podman',
  tini: '/usr/bin/tini',
  // root file systems
  'busybox-static': '/usr/bin/busybox',
  debootstrap: '/usr/sbin/debootstrap',
  // layers and what they must keep
  'libarchive-tools': '/usr/bin/bsdtar',
  zstd: '/usr/bin/zstd',
  attr: '/usr/bin/getfattr',
  'libcap2-bin': '/usr/sbin/setcap',
  // an ordinary user with subordinate ids
  uidmap: '/usr/bin/newuidmap',
  // its parser's opinion of our profile, and the profile's way into the kernel
  apparmor: '/usr/sbin/apparmor_parser',
  // networks: another host beside this one, and the kernel's own account of rules
  iproute2: '/usr/bin/ip',
  nftables: '/usr/sbin/nft',
  // a second opinion on seccomp filters, and on programs linked with another C library
  gcc: '/usr/bin/gcc',
  'libc6-dev': '/usr/include/stdio.h',
  'libseccomp-dev': '/usr/include/seccomp.h',
  'musl-tools': '/usr/bin/musl-gcc',
  // what the speed of a pull is compared with
  curl: '/usr/bin/curl',
}

/**
 * What the guest does not need itself: a guest like the users' machines is made by these, and a helper for arm64, and
 * programs that are built here.
 */
export const MACHINE_PACKAGES = {
  // the runtime specification's validation programs
  'golang-go': ['/usr/bin/go', '/usr/local/go/bin/go'],
  // scripts/vm: the guest's image is made and started by these
  mmdebstrap: '/usr/bin/mmdebstrap',
  e2fsprogs: '/usr/sbin/mke2fs',
  'qemu-system-x86': '/usr/bin/qemu-system-x86_64',
  // the helper for arm64: linked here, and tried under an emulated processor
  'gcc-aarch64-linux-gnu': '/usr/bin/aarch64-linux-gnu-gcc',
  'libc6-dev-arm64-cross': '/usr/aarch64-linux-gnu/include/stdio.h',
  'qemu-user-static': '/usr/bin/qemu-aarch64-static',
}
