"""The child process that exports a checkpoint: it never outlives who wanted the export."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
OPEN = """
import sys
from pathlib import Path
from service.backends import BackendOptions, open_backend
open_backend("openvino", Path(sys.argv[1]), BackendOptions(cache_dir=Path(sys.argv[2])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the export ends by itself, a little later")
def test_an_export_ends_with_a_service_that_is_killed(checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(checkpoint), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT) as service:
        try:
            exports: list[psutil.Process] = []
            while not exports:
                assert service.poll() is None, "it ended before it began to export"
                children = psutil.Process(service.pid).children()
                exports = [child for child in children if "model.export" in " ".join(child.cmdline())]
            # The child is its own from its first line on, and imports torch for seconds after.
            while "torch" not in Path(f"/proc/{exports[0].pid}/maps").read_text():
                assert exports[0].is_running()
        finally:
            service.kill()
    gone, alive = psutil.wait_procs(exports, timeout=10)
    assert (len(gone), alive) == (1, [])
