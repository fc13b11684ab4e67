/*
 * The kernel's floor for "run a program in a container": the system calls and nothing else. No engine, no plan, no
 * cgroup, no security, no streams. Prints one line of milliseconds for every run.
 *
 *   run ROOTFS SCRATCH COUNT COMMAND...
 *
 * ROOTFS: lower directory of the overlay. SCRATCH: an empty directory on the same file system as an engine's root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
        _exit(125);
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void container(const char *options, const char *root, char **command)
{
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
    must(mount("overlay", root, "overlay", 0, options), "mount overlay");
    must(chdir(root), "chdir");
    must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mount proc");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount");
    must(chdir("/"), "chdir /");
    char *environment[] = {"PATH=/bin", NULL};
    execve(command[0], command, environment);
    must(-1, "execve");
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: run ROOTFS SCRATCH COUNT COMMAND...\n");
        return 2;
    }
    char upper[4096], work[4096], root[4096], options[16384];
    for (int i = 0; i < atoi(argv[3]); i++) {
        double start = now();
        snprintf(upper, sizeof upper, "%s/upper%d", argv[2], i);
        snprintf(work, sizeof work, "%s/work%d", argv[2], i);
        snprintf(root, sizeof root, "%s/root%d", argv[2], i);
        must(mkdir(upper, 0755), "mkdir upper");
        must(mkdir(work, 0755), "mkdir work");
        must(mkdir(root, 0755), "mkdir root");
        snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", argv[1], upper, work);
        struct clone_args clone = {
            .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP,
            .exit_signal = SIGCHLD,
        };
        pid_t pid = syscall(SYS_clone3, &clone, sizeof clone);
        must(pid, "clone3");
        if (pid == 0)
            container(options, root, argv + 4);
        int status;
        must(waitpid(pid, &status, 0), "waitpid");
        printf("%.3f\n", now() - start);
        if (status != 0)
            return 1;
        rmdir(root);
    }
    return 0;
}
