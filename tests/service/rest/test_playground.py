import base64
import re

import httpx
import numpy as np
import pytest

from service.codec import COLOUR_MAPS
from service.rest.playground import STATIC
from tests.service.echo import EchoEngine
from tests.service.opened import http_client, make_frontend


def test_the_page_s_colours_are_the_service_s() -> None:
    text = (STATIC / "maps.js").read_text()
    found = dict(re.findall(r'^  (\w+): "([A-Za-z0-9+/=]+)"', text, flags=re.MULTILINE))
    assert set(found) == set(COLOUR_MAPS)
    for name, table in COLOUR_MAPS.items():
        assert np.array_equal(np.frombuffer(base64.b64decode(found[name]), np.uint8).reshape(256, 3), table)


def test_the_page_asks_nothing_of_other_hosts() -> None:
    """What is fetched is named by a path of our own; three.js names addresses in its comments alone."""
    for path in STATIC.glob("*.*"):
        text = path.read_text()
        addresses = set(re.findall(r"https?://[\w./-]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, path


async def test_every_file_that_the_page_imports_is_served() -> None:
    named = re.findall(r'(?:src|href)="static/([^"]+)"', (STATIC / "index.html").read_text())
    scripts = [path.read_text() for path in STATIC.glob("*.js")]
    imported = [name for text in scripts for name in re.findall(r'(?:from|import\()\s*"\./([^"]+)"', text)]
    samples = re.findall(r'file: "([^"]+)"', (STATIC / "samples.js").read_text())
    assert named
    assert imported
    assert samples
    async with http_client(make_frontend(EchoEngine())) as client:
        for name in {*named, *imported, *(f"samples/{name}" for name in samples)}:
            assert (await client.get(f"/static/{name}")).status_code == 200, name


def test_the_page_works_behind_a_prefix() -> None:
    """Every address is relative, so that a proxy may serve the page under a path of its own."""
    absolute = re.compile(r"""["'`]/(?:static|v1|docs|metrics|readyz)\b""")
    assert not [
        path for path in [*STATIC.glob("*.js"), STATIC / "index.html"] if absolute.search(path.read_text())
    ]


def test_the_page_s_scripts_are_short_files() -> None:
    assert not [path for path in STATIC.glob("*.js") if len(path.read_text().splitlines()) > 400]


@pytest.mark.parametrize("path", ["/", "/static/playground.js", "/static/vendor/three.js"])
async def test_the_page_is_served_without_a_key(path: str, client: httpx.AsyncClient) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"


async def test_browsers_are_told_that_the_page_asks_nobody_else(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"
