import base64
import re

import httpx
import numpy as np
import pytest

from service.codec import COLOUR_MAPS
from service.rest.playground import STATIC


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


def test_every_file_that_the_page_imports_is_there() -> None:
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', (STATIC / "index.html").read_text())
    imported = [
        f"/static/{match}"
        for path in STATIC.glob("*.js")
        for match in re.findall(r'(?:from|import\()\s*"\./([^"]+)"', path.read_text())
    ]
    assert named
    assert imported
    assert not [name for name in named + imported if not (STATIC / name.removeprefix("/static/")).exists()]


@pytest.mark.parametrize("path", ["/", "/static/playground.js", "/static/vendor/three.js"])
async def test_the_page_is_served_without_a_key(path: str, client: httpx.AsyncClient) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
