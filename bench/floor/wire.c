/*
 * Both ends of a measured TCP connection.
 *
 *   wire serve PORT              every connection begins with one byte: 's' reads to the end, 'e' sends every byte back
 *   wire stream HOST PORT BYTES  prints megabytes a second
 *   wire ping HOST PORT COUNT    prints the microseconds of one byte there and back, a line each
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[256 << 10];

static long must(long result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
        exit(1);
    }
    return result;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void at_once(int socket)
{
    int on = 1;
    must(setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
}

static void attend(int peer)
{
    char word = 0;
    at_once(peer);
    if (read(peer, &word, 1) != 1)
        _exit(1);
    for (;;) {
        ssize_t length = read(peer, buffer, word == 'e' ? 1 : sizeof buffer);
        if (length <= 0)
            break;
        if (word == 'e' && write(peer, buffer, length) != length)
            break;
    }
    /* All has arrived. */
    if (word == 's' && write(peer, "!", 1) != 1)
        _exit(1);
    _exit(0);
}

static void serve(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    must(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    must(listen(listener, 16), "listen");
    signal(SIGCHLD, SIG_IGN);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int peer = must(accept(listener, NULL, NULL), "accept");
        if (must(fork(), "fork") == 0)
            attend(peer);
        close(peer);
    }
}

static int dial(const char *host, int port, char word)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "wire: %s is no address\n", host);
        exit(2);
    }
    int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    must(connect(fd, (struct sockaddr *)&address, sizeof address), "connect");
    at_once(fd);
    must(write(fd, &word, 1), "write");
    return fd;
}

static void stream(int fd, long bytes)
{
    double start = now();
    for (long sent = 0; sent < bytes;)
        sent += must(write(fd, buffer, sizeof buffer), "write");
    must(shutdown(fd, SHUT_WR), "shutdown");
    must(read(fd, buffer, 1), "read");
    printf("%.1f\n", bytes / (now() - start));
}

static void ping(int fd, int count)
{
    for (int n = 0; n < count; n++) {
        double start = now();
        must(write(fd, "!", 1), "write");
        must(read(fd, buffer, 1), "read");
        printf("%.1f\n", now() - start);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        serve(atoi(argv[2]));
    if (argc == 5 && strcmp(argv[1], "stream") == 0)
        return stream(dial(argv[2], atoi(argv[3]), 's'), atol(argv[4])), 0;
    if (argc == 5 && strcmp(argv[1], "ping") == 0)
        return ping(dial(argv[2], atoi(argv[3]), 'e'), atoi(argv[4])), 0;
    fprintf(stderr, "usage: wire serve PORT | stream HOST PORT BYTES | ping HOST PORT COUNT\n");
    return 2;
}
