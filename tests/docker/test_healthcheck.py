"""What HEALTHCHECK runs, against real services."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.process import ROOT, running
from tests.e2e.test_secured import Authority


def check(ready_file: Path, **environment: object) -> tuple[int, str]:
    """Run the check as the engine does: without any of our packages."""
    told = {name: str(value) for name, value in environment.items()}
    done = subprocess.run(
        [sys.executable, "-I", str(ROOT / "docker" / "healthcheck.py")],
        env={"PATH": os.environ["PATH"], "DEPTH_READY_FILE": str(ready_file), **told},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


def test_a_service_is_healthy_from_ready_to_closing(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    assert check(ready) == (1, f"it is starting or ending: {str(ready)!r} is not there\n")
    with running(DEPTH_READY_FILE=ready, DEPTH_LINGER_S=20) as process:
        assert check(ready) == (0, "ready\n")
        process.send(signal.SIGTERM)
        process.until("closing")
        assert check(ready) == (1, "/readyz answered 503\n")


def test_a_service_that_was_killed_is_not_healthy(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with running(DEPTH_READY_FILE=ready) as process:
        process.kill()
        status, said = check(ready)
    assert status == 1
    assert "no answer from port" in said


def test_over_tls_the_check_needs_no_certificate(tmp_path: Path, authority: Authority) -> None:
    ready = tmp_path / "ready.json"
    certificate, key = authority.sign("server")
    with running(DEPTH_READY_FILE=ready, DEPTH_TLS_CERT=certificate, DEPTH_TLS_KEY=key):
        assert check(ready, DEPTH_TLS_CERT=certificate) == (0, "ready\n")
        assert check(ready)[0] == 1  # plain HTTP is not answered


def test_a_service_that_asks_for_certificates_is_healthy_too(tmp_path: Path, authority: Authority) -> None:
    ready = tmp_path / "ready.json"
    certificate, key = authority.sign("server")
    tls = {"DEPTH_TLS_CERT": certificate, "DEPTH_TLS_KEY": key, "DEPTH_TLS_CLIENT_CA": authority.certificate}
    with running(DEPTH_READY_FILE=ready, **tls):
        assert check(ready, **tls) == (0, "ready\n")
