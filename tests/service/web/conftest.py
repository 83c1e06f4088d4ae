from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.process import Process
from tests.service.web.browser import api, chromium, opened, served


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    """Not for longer than a module: it keeps a loop running, which no asynchronous test can bear."""
    with api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Any) -> Iterator[Any]:
    with chromium(playwright) as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Without any setting; a module whose tests need one has its own."""
    with served(tmp_path_factory.mktemp("models")) as process:
        yield process


@pytest.fixture
def page(browser: Any, service: Process) -> Iterator[Any]:
    with opened(browser, service.url) as page:
        yield page
