from collections.abc import AsyncIterator

import httpx
import pytest

from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.echo import EchoEngine
from tests.service.opened import http_client, make_frontend


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key, of a service that asks for one."""
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    async with http_client(make_frontend(EchoEngine(), keyring)) as without_key:
        yield without_key
