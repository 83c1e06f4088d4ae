"""Keep freed memory for the next request, instead of handing it back to the system and asking for it again.

An image's arrays are megabytes, and the C library returns each to the system when it is freed: the next
request then pays a page fault for every 4 KiB, on a 1080p map more than the encoding itself.
"""

import ctypes
import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of mallopt(3)."""
_KEPT_BYTES = 128 * 2**20
"""At the end of each arena; a codec thread's arrays of an 8K photograph fit."""
_MAPPED_BYTES = 32 * 2**20
"""What is larger is still mapped by itself and returned; glibc allows no more."""


def keep_freed_memory() -> bool:
    """Set the C library's thresholds, and answer whether it has any (only glibc does)."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = [mallopt(_TRIM_THRESHOLD, _KEPT_BYTES), mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)]
    return all(kept)


def return_freed_memory() -> None:
    """Hand what is kept back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def resident_bytes() -> int:
    """Return how much memory this process has; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
