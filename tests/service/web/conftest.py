from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.web.browser import api, chromium


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    """Not for longer than a module: it keeps a loop running, which no asynchronous test can bear."""
    with api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Any) -> Iterator[Any]:
    with chromium(playwright) as running:
        yield running
