import resource
from collections.abc import Iterator

import pytest

from service.transports.fit import RESERVED_FILES, fitted
from tests.service.opened import settings


@pytest.fixture
def few_files() -> Iterator[None]:
    """A process that may open 600 files, as far as it knows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_ships_fits() -> None:
    assert [problem for problem in fitted(settings())[1] if "container" not in problem] == []


def test_the_limit_of_files_is_raised_as_far_as_may_be(few_files: None) -> None:
    fitted(settings())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard


def test_connections_leave_files_for_probes_and_models() -> None:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files == resource.RLIM_INFINITY:
        pytest.skip("this system has no limit of files")
    fits, problems = fitted(settings(max_connections=files))
    assert 2 * fits.max_connections + RESERVED_FILES <= files
    assert "ulimit -n" in problems[-1]


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (
            {"max_bodies_bytes": 100, "max_body_bytes": 51},
            "DEPTH_MAX_BODIES_BYTES is 100; expected at least 102",
        ),
        ({"max_answers_bytes": 799, "max_depth_pixels": 100}, "DEPTH_MAX_ANSWERS_BYTES is 799"),
        (
            {"max_pixels_bytes": 19, "max_image_pixels": 1},
            "DEPTH_MAX_PIXELS_BYTES is 19; expected at least 20",
        ),
    ],
)
def test_an_account_that_cannot_hold_the_largest_request_is_told(chosen: dict[str, int], reason: str) -> None:
    assert any(reason in problem for problem in fitted(settings(**chosen))[1])
