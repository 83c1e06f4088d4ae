"""The soak of `benchmarks/soak.py`, for a minute: it compares every answer, and looks at what is left."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.process import ROOT


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_requests_of_every_kind_are_answered_rightly_and_leave_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/soak.py", "--requests", "1000", "--seed", "7"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "soak.md")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
