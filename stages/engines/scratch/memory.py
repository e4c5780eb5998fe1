"""What the C library does with memory that is freed."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep the memory of arrays that are freed, for the arrays of the next training step.

    glibc returns much of it to the system, from which it comes back page by page, cleared, while the other threads that
    ask for memory wait. With another C library, nothing happens.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, 32 * 1024**2)  # the largest that every glibc takes
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
