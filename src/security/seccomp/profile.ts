/**
 * Docker's default profile: what a container may ask of the kernel. The behaviour is the published one
 * (moby/profiles, Apache-2.0), to the letter; a test compares. Only the order is ours: by meaning.
 */
import type { SeccompArgument, SeccompFilter, SeccompProfile } from './types.ts'

const EPERM = 1
const ENOSYS = 38

/** Allowed to every container. */
const ALLOWED = {
  openAndClose: `
    open openat openat2 creat close close_range dup dup2 dup3 fcntl fcntl64 ioctl flock memfd_create memfd_secret
    name_to_handle_at
  `,
  readAndWrite: `
    read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek sendfile sendfile64 splice
    tee vmsplice copy_file_range readahead fadvise64 fadvise64_64 fallocate truncate truncate64 ftruncate ftruncate64
    fsync fdatasync sync syncfs sync_file_range cachestat
  `,
  paths: `
    access faccessat faccessat2 chdir fchdir getcwd link linkat unlink unlinkat symlink symlinkat readlink readlinkat
    rename renameat renameat2 mkdir mkdirat rmdir mknod mknodat getdents getdents64 umask
  `,
  metadata: `
    stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 statmount
    listmount chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 utime utimes
    futimesat utimensat utimensat_time64
  `,
  extendedAttributes: `
    getxattr getxattrat lgetxattr fgetxattr setxattr setxattrat lsetxattr fsetxattr listxattr listxattrat llistxattr
    flistxattr removexattr removexattrat lremovexattr fremovexattr
  `,
  watching: `
    inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
  `,
  memory: `
    brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall mseal
    remap_file_pages pkey_alloc pkey_free pkey_mprotect map_shadow_stack membarrier
  `,
  processes: `
    fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid getpgrp setpgid getsid
    setsid prctl pidfd_open pidfd_send_signal process_mrelease restart_syscall rseq set_tid_address get_thread_area
    set_thread_area uretprobe riscv_hwprobe
  `,
  signals: `
    kill tkill tgkill pause sigaltstack sigprocmask sigreturn signalfd signalfd4 rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
  `,
  identity: `
    getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32
    getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32
    setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset
  `,
  confinement: `
    seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
  `,
  limitsAndUsage: `
    getrlimit ugetrlimit setrlimit prlimit64 getrusage times sysinfo uname
  `,
  scheduling: `
    sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
    sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
    sched_rr_get_interval_time64 getpriority setpriority ioprio_get ioprio_set getcpu
  `,
  locks: `
    futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue get_robust_list set_robust_list
  `,
  time: `
    time gettimeofday clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 clock_adjtime clock_adjtime64 adjtimex nanosleep alarm getitimer setitimer
  `,
  timers: `
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
  `,
  pollAndEvents: `
    poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create epoll_create1 epoll_ctl
    epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2
  `,
  asynchronousIo: `
    io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64
  `,
  sockets: `
    socketcall socketpair bind connect listen accept accept4 shutdown getsockname getpeername getsockopt setsockopt
    send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64
  `,
  pipesAndIpc: `
    pipe pipe2 ipc msgget msgctl msgsnd msgrcv semget semctl semop semtimedop semtimedop_time64 shmget shmctl shmat
    shmdt mq_open mq_unlink mq_notify mq_getsetattr mq_timedsend mq_timedsend_time64 mq_timedreceive
    mq_timedreceive_time64
  `,
  random: `
    getrandom
  `,
}

/** Allowed where an argument is harmless: one entry an alternative. */
const BY_ARGUMENT: [names: string, argument: SeccompArgument][] = [
  // Every family but AF_ALG (38) and AF_VSOCK (40): kernel crypto, and the host behind a virtual machine.
  ['socket', { index: 0, op: 'SCMP_CMP_LT', value: 38 }],
  ['socket', { index: 0, op: 'SCMP_CMP_EQ', value: 39 }],
  ['socket', { index: 0, op: 'SCMP_CMP_GT', value: 40 }],
  // PER_LINUX, PER_LINUX32, either with UNAME26; and the question which it is.
  ['personality', { index: 0, op: 'SCMP_CMP_EQ', value: 0x0 }],
  ['personality', { index: 0, op: 'SCMP_CMP_EQ', value: 0x8 }],
  ['personality', { index: 0, op: 'SCMP_CMP_EQ', value: 0x20000 }],
  ['personality', { index: 0, op: 'SCMP_CMP_EQ', value: 0x20008 }],
  ['personality', { index: 0, op: 'SCMP_CMP_EQ', value: 0xffffffff }],
]

/** Calls that only one of the machines that Keelson runs on has, with its 32-bit programs. */
const BY_ARCHITECTURE: [architecture: string, names: string][] = [
  ['amd64', 'arch_prctl modify_ldt'],
  ['arm64', 'arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls'],
]

/** Calls that come with a capability: without it the kernel would refuse most of them anyway. */
const BY_CAPABILITY: [capability: string, names: string][] = [
  ['CAP_DAC_READ_SEARCH', 'open_by_handle_at'],
  [
    'CAP_SYS_ADMIN',
    `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
     lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
     sethostname setns syslog umount umount2 unshare`,
  ],
  ['CAP_SYS_BOOT', 'reboot'],
  ['CAP_SYS_CHROOT', 'chroot'],
  ['CAP_SYS_MODULE', 'delete_module init_module finit_module'],
  ['CAP_SYS_PACCT', 'acct'],
  ['CAP_SYS_PTRACE', 'kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace'],
  ['CAP_SYS_RAWIO', 'iopl ioperm'],
  ['CAP_SYS_TIME', 'settimeofday stime clock_settime clock_settime64'],
  ['CAP_SYS_TTY_CONFIG', 'vhangup'],
  ['CAP_SYS_NICE', 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node'],
  ['CAP_SYSLOG', 'syslog'],
  ['CAP_BPF', 'bpf'],
  ['CAP_PERFMON', 'perf_event_open'],
]

/** CLONE_NEW* of every namespace but time's: without CAP_SYS_ADMIN none may be set. */
const NEW_NAMESPACES = 0x7e020000
const WITHOUT_SYS_ADMIN: Conditions = { excludes: { caps: ['CAP_SYS_ADMIN'] } }

type Rule = SeccompProfile['syscalls'][number]
type Conditions = { includes?: SeccompFilter; excludes?: SeccompFilter }

/** @internal */
export const DEFAULT_PROFILE: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: EPERM,
  archMap: [
    {
      architecture: 'SCMP_ARCH_X86_64',
      subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
    },
    { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
  ],
  syscalls: [
    allow(Object.values(ALLOWED).join(' ')),
    // Before Linux 4.8 a tracer could get around the filter of the traced.
    allow('process_vm_readv process_vm_writev ptrace', { includes: { minKernel: '4.8' } }),
    ...BY_ARGUMENT.map(([names, argument]) => ({ ...allow(names), args: [argument] })),
    ...BY_ARCHITECTURE.map(([arch, names]) => allow(names, { includes: { arches: [arch] } })),
    ...BY_CAPABILITY.map(([capability, names]) =>
      allow(names, { includes: { caps: [capability] } }),
    ),
    {
      ...allow('clone', WITHOUT_SYS_ADMIN),
      args: [{ index: 0, op: 'SCMP_CMP_MASKED_EQ', value: NEW_NAMESPACES, valueTwo: 0 }],
    },
    // Its flags are in memory, out of sight: "no such call" makes C libraries use clone(2) instead.
    { ...WITHOUT_SYS_ADMIN, names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
  ],
}

function allow(names: string, conditions: Conditions = {}): Rule {
  return { names: names.trim().split(/\s+/), action: 'SCMP_ACT_ALLOW', ...conditions }
}
