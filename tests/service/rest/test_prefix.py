"""Behind a proxy that shows the service under a prefix, whether it strips the prefix or not."""

import re

import httpx
import pytest
from websockets.asyncio.client import connect

from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.echo import EchoEngine
from tests.service.opened import http_client, http_server, make_frontend

PREFIX = "/tools/depth"
KEYRING = Keyring([ApiKey(name="ann", digest=hash_key("right"))])


@pytest.fixture(params=["stripped", "left"])
def under(request: pytest.FixtureRequest) -> str:
    """What a path has before it when it arrives."""
    return "" if request.param == "stripped" else PREFIX


async def test_every_route_is_found_and_the_same_ones_need_a_key(under: str) -> None:
    async with http_client(make_frontend(EchoEngine(), KEYRING, root_path=PREFIX)) as client:
        for path in (
            "/livez",
            "/metrics",
            "/docs",
            "/openapi.json",
            "/static/playground.js",
            "/v2/health/live",
            "/",
        ):
            assert (await client.get(under + path)).status_code == 200, path
        refused = await client.post(f"{under}/v1/depth", content=b"photo")
        assert refused.json()["error"]["code"] == "unauthenticated"
        key = {"x-api-key": "right"}
        assert (await client.post(f"{under}/v1/depth", content=b"photo", headers=key)).status_code == 200
        other = await client.get(f"{under}/v2/models/nobody", headers=key)
        assert isinstance(other.json()["error"], str)  # in the form of its own protocol


async def test_the_documentation_and_redirects_lead_to_where_the_proxy_shows_them(under: str) -> None:
    async with http_client(make_frontend(EchoEngine(), root_path=PREFIX)) as client:
        page = (await client.get(f"{under}/docs")).text
        assert all(url.startswith(f"{PREFIX}/") for url in re.findall(r'(?:src|href)="([^"]+)"', page))
        assert f"{PREFIX}/openapi.json" in page
        document = (await client.get(f"{under}/openapi.json")).json()
        assert document["servers"] == [{"url": PREFIX}]
        away = await client.get(f"{under}/v1/models/")
        assert httpx.URL(away.headers["location"]).path == f"{PREFIX}/v1/models"
        page = await client.get(PREFIX)
        assert httpx.URL(page.headers["location"]).path == f"{PREFIX}/"  # what it names is relative to that


async def test_streams_are_opened_under_the_prefix_too(under: str) -> None:
    frontend = make_frontend(EchoEngine(), root_path=PREFIX)
    async with http_server(frontend) as port, connect(f"ws://127.0.0.1:{port}{under}/v1/stream") as stream:
        await stream.send(b"photo")
        assert b"photo" in [await stream.recv(), await stream.recv()][1]
