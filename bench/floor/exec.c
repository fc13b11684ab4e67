/*
 * The kernel's floor for "execute a program in a running container": the system calls and nothing else. No cgroup, no
 * security, no streams. Prints one line of milliseconds for every run.
 *
 *   exec PID COUNT COMMAND...
 *
 * PID: the container's process 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int must(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
        _exit(125);
    }
    return result;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void wait_for(int pid)
{
    int status;
    must(waitpid(pid, &status, 0), "waitpid");
    if (status != 0) {
        fprintf(stderr, "floor: status %d\n", status);
        _exit(125);
    }
}

static void enter(int pidfd, char **command)
{
    must(setns(pidfd, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP),
         "setns");
    int pid = must(fork(), "fork");
    if (pid == 0) {
        execv(command[0], command);
        _exit(126);
    }
    wait_for(pid);
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: exec PID COUNT COMMAND...\n");
        return 2;
    }
    int pidfd = must(syscall(SYS_pidfd_open, atoi(argv[1]), 0), "pidfd_open");
    for (int count = atoi(argv[2]); count > 0; count--) {
        double start = now();
        int pid = must(fork(), "fork");
        if (pid == 0)
            enter(pidfd, argv + 3);
        wait_for(pid);
        printf("%.4f\n", now() - start);
    }
    return 0;
}
