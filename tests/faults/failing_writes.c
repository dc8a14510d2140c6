/* Preloaded into a command, lets one write below a folder fail.

   FAULT_FOLDER  operations on files below this folder are counted
   FAULT_LOG     a file that receives one line per counted operation
   FAULT_NUMBER  the operation that fails, from 1; 0 lets all of them succeed
   FAULT_ERRNO   the error that it fails with

   Build: cc -shared -fPIC -O1 -o failing_writes.so failing_writes.c -ldl */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_long count;

/* Count an operation on `path`; returns whether it has to fail, and sets errno then. */
static int fails(const char *operation, const char *path) {
    const char *folder = getenv("FAULT_FOLDER"), *log = getenv("FAULT_LOG");
    char resolved[PATH_MAX], line[PATH_MAX + 64];
    int saved = errno;
    if (folder == NULL || log == NULL) return 0;
    if (path[0] != '/') { /* all relative paths of the commands start in the working directory */
        char here[PATH_MAX];
        if (syscall(SYS_getcwd, here, sizeof here) < 0) return 0;
        if (snprintf(resolved, sizeof resolved, "%s/%s", here, path) >= (int)sizeof resolved) return 0;
        path = resolved;
    }
    if (strncmp(path, folder, strlen(folder)) != 0 || path[strlen(folder)] != '/') return 0;
    long number = atomic_fetch_add(&count, 1) + 1;
    int size = snprintf(line, sizeof line, "%s %s\n", operation, path);
    int file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (file >= 0) {
        syscall(SYS_write, file, line, size);
        syscall(SYS_close, file);
    }
    errno = saved;
    if (number != atol(getenv("FAULT_NUMBER"))) return 0;
    errno = atoi(getenv("FAULT_ERRNO"));
    return 1;
}

static int fails_descriptor(const char *operation, int descriptor) {
    char link[64], path[PATH_MAX];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = saved;
    if (size <= 0 || path[0] != '/') return 0; /* a pipe or socket */
    path[size] = 0;
    return fails(operation, path);
}

ssize_t write(int descriptor, const void *data, size_t size) {
    return fails_descriptor("write", descriptor) ? -1 : REAL(write)(descriptor, data, size);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    return fails_descriptor("pwrite", descriptor) ? -1 : REAL(pwrite)(descriptor, data, size, offset);
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    return fails_descriptor("pwrite", descriptor) ? -1 : REAL(pwrite64)(descriptor, data, size, offset);
}

ssize_t writev(int descriptor, const struct iovec *parts, int parts_count) {
    return fails_descriptor("writev", descriptor) ? -1 : REAL(writev)(descriptor, parts, parts_count);
}

int fsync(int descriptor) { return fails_descriptor("fsync", descriptor) ? -1 : REAL(fsync)(descriptor); }

int fdatasync(int descriptor) { return fails_descriptor("fdatasync", descriptor) ? -1 : REAL(fdatasync)(descriptor); }

int ftruncate(int descriptor, off_t size) {
    return fails_descriptor("ftruncate", descriptor) ? -1 : REAL(ftruncate)(descriptor, size);
}

int posix_fallocate(int descriptor, off_t offset, off_t size) {
    return fails_descriptor("posix_fallocate", descriptor) ? errno : REAL(posix_fallocate)(descriptor, offset, size);
}

int rename(const char *from, const char *to) { return fails("rename", to) ? -1 : REAL(rename)(from, to); }

int mkdir(const char *path, mode_t mode) { return fails("mkdir", path) ? -1 : REAL(mkdir)(path, mode); }

/* A file that is opened for writing may report an earlier failure when it is closed; the descriptor is closed anyway. */
int close(int descriptor) {
    int flags = (int)syscall(SYS_fcntl, descriptor, F_GETFL);
    if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && fails_descriptor("close", descriptor)) {
        int error = errno;
        REAL(close)(descriptor);
        errno = error;
        return -1;
    }
    return REAL(close)(descriptor);
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;                                                 \
        va_end(arguments);                                                                                             \
        return (flags & O_CREAT) && fails("open", path) ? -1 : REAL(name)(path, flags, mode);                          \
    }
OPEN(open)
OPEN(open64)
