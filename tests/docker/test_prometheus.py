"""A real Prometheus, with our configuration, has an answer to every question that the dashboard asks."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from tests.docker.test_monitoring import ONLY_ON_GPUS, PROMETHEUS, panels
from tests.service.traffic import busy_service

EVERYTHING = {
    "$job": ".*",
    "$instance": ".*",
    "$transport": ".*",
    "$model": ".*",
    "$__rate_interval": "1m",
}


@asynccontextmanager
async def prometheus(folder: Path, target: int) -> AsyncIterator[httpx.AsyncClient]:
    """Run it until it is ready, with the target and the pace of a test, and all else as it is committed."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("needs prometheus (Debian's package of that name has it)")
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{target}"]
    shutil.copy(PROMETHEUS / "alerts.yml", folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(*command, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await _until_ready(client, process)
            yield client
    finally:
        process.terminate()
        await process.wait()


async def _until_ready(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(120):
        while process.returncode is None:
            try:
                if (await client.get("/-/ready")).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    raise AssertionError(f"prometheus ended with {process.returncode}")


async def _unanswered(client: httpx.AsyncClient, queries: dict[str, str]) -> list[str]:
    left = []
    for where, query in queries.items():
        answer = (await client.get("/api/v1/query", params={"query": query})).json()
        assert answer["status"] == "success", (where, answer)
        if not answer["data"]["result"]:
            left.append(where)
    return left


def _queries() -> dict[str, str]:
    found = {}
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"]
            for variable, value in EVERYTHING.items():
                query = query.replace(variable, value)
            if not any(name in query for name in ONLY_ON_GPUS):
                found[f"{panel['title']}, {target['refId']}"] = query
    return found


@pytest.mark.timeout(400)  # a busy machine has both processes wait for each other
async def test_every_panel_of_the_dashboard_shows_something_after_some_traffic(tmp_path: Path) -> None:
    async with busy_service(tmp_path) as busy, prometheus(tmp_path, busy.port) as client:
        left = ["everything"]
        async with asyncio.timeout(240):
            while left:
                await busy.traffic()
                left = await _unanswered(client, _queries())
        rules = (await client.get("/api/v1/rules")).json()["data"]["groups"]
        faulty = [rule["name"] for group in rules for rule in group["rules"] if rule["health"] == "err"]
        assert len(rules) == 4
        assert not faulty
