"""Freed memory goes back to the system once nobody waits for an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.codec.memory import resident_bytes, return_freed_memory
from service.transports.frontend import Frontend

_EVERY_S = 5.0
_KEPT_BYTES = 64 * 2**20
"""Kept for the next requests, above what was there after the last return."""


@asynccontextmanager
async def returning_memory(frontend: Frontend) -> AsyncIterator[None]:
    """Look every few seconds, for as long as the ``async with`` lasts."""
    task = asyncio.ensure_future(_return(frontend))
    try:
        yield
    finally:
        task.cancel()


async def _return(frontend: Frontend) -> None:
    least = resident_bytes()
    while True:
        await asyncio.sleep(_EVERY_S)
        if not frontend.holds_bytes and resident_bytes() > least + _KEPT_BYTES:
            await asyncio.to_thread(return_freed_memory)
            least = resident_bytes()
