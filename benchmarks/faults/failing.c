/* Makes the n-th write, fsync, rename, unlink or truncate below a folder fail, once.
 *
 * Preloaded into the loop's own process only: the constructor takes LD_PRELOAD out of the environment.
 * FAULT_ROOT: the folder. FAULT_AT: which call, from 1. FAULT_ERRNO: what it fails with. FAULT_COUNT: a
 * file that gets the number of calls at exit.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long calls, fail_at;
static int fail_errno = EIO;
static char root[PATH_MAX], count_file[PATH_MAX];

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("FAULT_AT"), *where = getenv("FAULT_ROOT"), *what = getenv("FAULT_ERRNO");
    const char *count = getenv("FAULT_COUNT");
    fail_at = at ? atol(at) : 0;
    if (what) fail_errno = atoi(what);
    if (where) snprintf(root, sizeof root, "%s", where);
    if (count) snprintf(count_file, sizeof count_file, "%s", count);
    unsetenv("LD_PRELOAD");
}

__attribute__((destructor)) static void end(void) {
    FILE *out = count_file[0] ? fopen(count_file, "w") : NULL;
    if (out) {
        fprintf(out, "%ld\n", calls);
        fclose(out);
    }
}

static int below(const char *path) { return root[0] && strncmp(path, root, strlen(root)) == 0; }

static int hit(const char *path) {
    if (!below(path)) return 0;
    if (__sync_add_and_fetch(&calls, 1) != fail_at) return 0;
    errno = fail_errno;
    return 1;
}

static int hit_fd(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return hit(path);
}

static int hit_name(const char *name) {
    char path[PATH_MAX * 2];
    if (name[0] == '/') return hit(name);
    char here[PATH_MAX];
    if (!getcwd(here, sizeof here)) return 0;
    snprintf(path, sizeof path, "%s/%s", here, name);
    return hit(path);
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    return hit_fd(fd) ? -1 : real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    return hit_fd(fd) ? -1 : real(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    return hit_fd(fd) ? -1 : real(fd, data, size, at);
}
int fsync(int fd) {
    REAL(fsync);
    return hit_fd(fd) ? -1 : real(fd);
}
int fdatasync(int fd) {
    REAL(fdatasync);
    return hit_fd(fd) ? -1 : real(fd);
}
int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    return hit_fd(fd) ? -1 : real(fd, size);
}
int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    return hit_fd(fd) ? -1 : real(fd, size);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    return hit_name(to) ? -1 : real(from, to);
}
int unlink(const char *name) {
    REAL(unlink);
    return hit_name(name) ? -1 : real(name);
}
