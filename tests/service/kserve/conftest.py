from collections.abc import AsyncIterator

import httpx
import pytest

from tests.service.kserve.flat import FlatEngine
from tests.service.opened import http_client, make_frontend


@pytest.fixture
def engine() -> FlatEngine:
    return FlatEngine()


@pytest.fixture
async def client(engine: FlatEngine) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(make_frontend(engine)) as opened:
        yield opened
