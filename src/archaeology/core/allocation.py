"""Keep freed memory for the next tensor: glibc gives large blocks back, and every step then pays for them anew.

A block of more than some 32 MiB is fetched from the system when a tensor is made and returned when it dies; each
page of it costs a fault, and zeroing, at its first touch. On a CPU this can be half the time of a training step that
makes many large tensors, and it makes cost grow faster than the work does.
"""

import ctypes
import sys
from typing import Any

# From malloc.h; the numbers are part of glibc's binary interface.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
NEVER = -1
TOP_PAD = 64 * 2**20  # bytes by which the heap grows at least


def tune_allocation() -> bool:
    """Tell glibc to keep what is freed, for the whole process and until it ends.

    What it costs: the process keeps its largest size (resident memory no longer says what is in use now), and memory
    between blocks still in use cannot serve larger ones. So it is for benchmarks and training loops, which call it
    once before they begin; nothing in this library calls it by itself.

    Returns:
        Whether it could: False, and nothing is changed, where the C library is not glibc.
    """
    library = _glibc()
    if library is None:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER), (M_TOP_PAD, TOP_PAD))
    return all([library.mallopt(name, value) == 1 for name, value in settings])


def release_freed_memory() -> bool:
    """Give back to the system what was freed and kept, once; the process goes on keeping what it frees afterwards.

    Returns:
        Whether anything was given back; False where the C library is not glibc.
    """
    library = _glibc()
    return library is not None and library.malloc_trim(0) == 1


def _glibc() -> Any:
    """The C library this process runs on, if it is glibc, else None."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
