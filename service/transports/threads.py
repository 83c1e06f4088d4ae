"""Work on bytes beside the event loop where there are many: everybody else is served meanwhile."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

ArgumentsT = ParamSpec("ArgumentsT")
ResultT = TypeVar("ResultT")

_SMALL_BYTES = 65_536
"""To parse or copy so many takes a millisecond; a thread takes a tenth of that to ask."""


async def by_size(
    size: int, work: Callable[ArgumentsT, ResultT], *args: ArgumentsT.args, **kwargs: ArgumentsT.kwargs
) -> ResultT:
    """Do work on so many bytes at once, or in a thread where they are many."""
    if size <= _SMALL_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
