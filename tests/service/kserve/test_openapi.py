"""Whatever the OpenAPI document allows or forbids is sent to a real server; its answers are held to it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.rest.errors import STATUS
from tests.e2e.process import running
from tests.service.kserve.flat import FlatEngine
from tests.service.opened import http_client, make_frontend

SERVER = (sys.executable, "-m", "tests.service.kserve.flat_server")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
ADMIN_KEY = "only-for-this-test"
EXAMPLES = 10
BEYOND_A_SCHEMA = "positive_data_acceptance"
"""That bytes are an image, or as many as a shape says, no schema can tell."""
LATE_IS_ALLOWED = """[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]

"""
"""A deadline of a thousandth of a millisecond is one; it cannot be met."""
MODEL_THAT_IS_THERE = '[parameters]\nmodel = "echo"\nname = "echo"\n'


# The program, and not its pytest plugin: that knows nothing newer than pytest 9.1.
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("configuration", ["", MODEL_THAT_IS_THERE], ids=["any-model", "a-model"])
def test_the_server_keeps_to_its_document(tmp_path: Path, configuration: str) -> None:
    if not SCHEMATHESIS.exists():
        pytest.skip("needs schemathesis")
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(LATE_IS_ALLOWED + configuration)
    with running(SERVER, DEPTH_ADMIN_KEY=ADMIN_KEY) as process:
        command = [SCHEMATHESIS, "--config-file", settings, "run", f"{process.url}/openapi.json"]
        command += ["--header", f"Authorization: Bearer {ADMIN_KEY}", "--phases", "coverage,fuzzing"]
        command += ["--max-examples", EXAMPLES, "--seed", 1, "--exclude-checks", BEYOND_A_SCHEMA]
        command += ["--request-timeout", 60]
        done = subprocess.run(
            [*map(str, command)],
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=860,
        )
    assert done.returncode == 0, done.stdout[-8000:]
    [tested] = re.findall(r"Tested: (\d+)", done.stdout)
    assert int(tested) > 20


async def test_the_document_has_every_route_that_there_is() -> None:
    async with http_client(make_frontend(FlatEngine()), admin_key="master") as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        for path, methods in paths.items():
            if not path.startswith("/v2"):
                continue
            (method,) = set(methods) - {"parameters"}
            asked = path.format(model="echo", version="1", region="a")
            answer = await client.request(method, asked, headers={"authorization": "Bearer master"})
            # These want a body, or a region that is there.
            wanting = path.endswith(("/infer", "/register", "/region/{region}/status"))
            assert answer.status_code == (400 if wanting else 200), path
            if path.endswith("/infer"):
                # What is no image is 400 here, and that no format fits cannot be asked for.
                told = set(methods["post"]["responses"])
                assert {str(int(status)) for status in STATUS.values()} - {"422"} <= told
