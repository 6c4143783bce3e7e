// A program of WASI preview 1 that does what its first argument says.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

__attribute__((noinline)) void innermost(int depth) {
    if (depth == 0) __builtin_trap();
    innermost(depth - 1);
    __asm__ volatile("");
}

static int report(const char *what, int failed) {
    printf("%s: %s\n", what, failed ? strerror(errno) : "ok");
    return 0;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "forever")) {
        struct timespec nap = {1000000, 0};
        for (;;) nanosleep(&nap, NULL);
    }
    if (!strcmp(mode, "exit")) return atoi(argv[2]);
    if (!strcmp(mode, "print")) {
        fputs(argv[2], stdout);
        fputs(argv[3], stderr);
        return 0;
    }
    if (!strcmp(mode, "surroundings")) {
        char dir[256];
        printf("%s\n%s\n", getenv("ORCH_CHECK"), getcwd(dir, sizeof dir));
        return 0;
    }
    if (!strcmp(mode, "show")) {
        for (int i = 0; i < argc; i++) printf("arg %s\n", argv[i]);
        for (char **e = environ; *e; e++) printf("env %s\n", *e);
        return 0;
    }
    if (!strcmp(mode, "trap")) innermost(2);
    if (!strcmp(mode, "spin")) for (volatile unsigned i = 0;; i++) {}
    if (!strcmp(mode, "hog")) {
        for (;;) {
            volatile char *block = malloc(1 << 20);
            for (int i = 0; block && i < 1 << 20; i += 4096) block[i] = 1;
        }
    }
    if (!strcmp(mode, "files")) {
        for (int i = 2; i + 1 < argc; i += 2) {
            const char *how = argv[i], *path = argv[i + 1];
            if (!strcmp(how, "read")) {
                char text[65] = {0};
                int fd = open(path, O_RDONLY);
                long got = fd < 0 ? -1 : read(fd, text, 64);
                if (got >= 0) printf("%s: %s\n", path, text);
                else report(path, 1);
            } else {
                int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
                report(path, fd < 0 || write(fd, "written", 7) != 7);
            }
        }
        return 0;
    }
    return 99;
}
