"""A clock that jumps: a library that is loaded before the C library, from which a process really takes its time."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CODE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Seconds by which the clock of this process is ahead: a file that others write. */
static volatile int64_t *ahead;

static int64_t offset(void) {
    if (!ahead) {
        const char *path = getenv("FAULTS_CLOCK");
        if (!path) return 0;
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) return 0;
        void *found = mmap(0, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (found == MAP_FAILED) return 0;
        ahead = found;
    }
    return *ahead;
}

static int is_wall(clockid_t id) { return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE; }

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, now);
    if (!code && is_wall(id)) now->tv_sec += offset();
    return code;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int code = real(now, zone);
    if (!code) now->tv_sec += offset();
    return code;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
"""


class Clock:
    """How far ahead of the machine's a clock is, for all processes that have its file in FAULTS_CLOCK."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0)
        path.chmod(0o644)

    def set(self, seconds: int) -> None:
        """Let it jump, at once and in every process."""
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(struct.pack("<q", seconds))


def preload(folder: Path) -> str | None:
    """Compile the library; what LD_PRELOAD is to be for it, None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or os.uname().sysname != "Linux":
        return None
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(_CODE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)  # noqa: S603  # the compiler that was found
    library.chmod(0o755)
    return str(library)


@contextmanager
def exported(**variables: str) -> Iterator[None]:
    """Environment variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
