"""Videos frame by frame as a player shows them, and files in the order in which people count.

One reader for training, `depth-predict` and the client, on PyAV and numpy alone. PyAV is loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Imports between these modules are relative: the client's own wheel has them as depth_client.footage.
from .names import VIDEO_SUFFIXES, natural_key

if TYPE_CHECKING:
    from .reader import VideoError as VideoError
    from .reader import VideoFrame as VideoFrame
    from .reader import VideoReader as VideoReader

_READER = ("VideoError", "VideoFrame", "VideoReader")

__all__ = [*_READER, "VIDEO_SUFFIXES", "natural_key"]


def __getattr__(name: str) -> Any:
    if name not in _READER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".reader", __name__), name)
