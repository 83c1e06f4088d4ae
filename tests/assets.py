"""Where tests find the real frames and weights that the repository may not contain."""

import os
from pathlib import Path

import pytest

ASSETS = Path(os.environ.get("DEPTH_TEST_ASSETS", Path(__file__).parents[2] / "shared"))


def shared(relative: str) -> Path:
    """Return a path under the assets folder, or skip the calling test saying what is missing."""
    path = ASSETS / relative
    if not path.exists():
        pytest.skip(f"needs {relative} under DEPTH_TEST_ASSETS (looked in {ASSETS})")
    return path
