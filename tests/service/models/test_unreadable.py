"""One entry of the folder that cannot be read, or never ends, changes nothing about the others."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from service.backends import Backend, BackendOptions, open_backend
from service.contract.errors import NotReady
from service.models.discovery import CheckpointFolder, look_at
from tests.e2e.process import SERVE, Process
from tests.service.checkpoints import write_checkpoint
from tests.service.models.test_registry import opened, versions


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


NOT_REGULAR: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a socket": a_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a pipe": lambda path: (
        os.mkfifo(path.with_suffix(".pipe")),
        path.symlink_to(f"{path.stem}.pipe"),
    ),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("what", NOT_REGULAR)
@pytest.mark.parametrize("where", ["b.safetensors", "a/2.safetensors", "b/1.safetensors"])
async def test_what_is_no_regular_file_is_no_checkpoint_and_the_others_are_served(
    what: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    write_checkpoint(tmp_path / "a" / "1.safetensors")
    Path(where).parent.mkdir(exist_ok=True)
    NOT_REGULAR[what](Path(where))
    async with opened(tmp_path) as registry:
        assert versions(registry) == [("a", "1")]
        write_checkpoint(tmp_path / "c.safetensors")
        await registry.look()
        assert [name for name, _ in versions(registry)] == ["a", "c"]


class Hanging:
    """Looks at entries, and hangs at one of them until it is let go."""

    def __init__(self, name: str) -> None:
        self.name, self.go, self.times = name, threading.Event(), 0

    def look(self, entry: Path) -> tuple[list, list[str]]:
        if entry.name == self.name and not self.go.is_set():
            self.times += 1
            self.go.wait(60)
        return look_at(entry)


async def test_an_entry_that_hangs_is_left_alone_by_one_thread_until_it_answers(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_checkpoint(tmp_path / f"{name}.safetensors")
    hanging = Hanging("b.safetensors")
    folder = CheckpointFolder(tmp_path, timeout_s=0.2, look=hanging.look)
    for _ in range(3):
        assert list(await folder.find()) == ["a", "c"]
    assert hanging.times == 1
    hanging.go.set()
    async with asyncio.timeout(30):
        while list(await folder.find()) != ["a", "b", "c"]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_what_an_entry_held_before_it_hung_is_not_taken_for_gone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_checkpoint(tmp_path / f"{name}.safetensors")
    hanging = Hanging("a.safetensors")
    hanging.go.set()
    folder = CheckpointFolder(tmp_path, timeout_s=0.2, look=hanging.look)
    before = await folder.find()
    hanging.go.clear()
    assert await folder.find() == before
    hanging.go.set()


async def test_a_model_whose_load_never_ends_holds_up_no_other_model_and_not_the_end(tmp_path: Path) -> None:
    stuck = threading.Event()

    def opening(kind: str, path: Path, options: BackendOptions) -> Backend:
        if path.stem == "b":
            stuck.wait(60)
        return open_backend(kind, path, options)

    write_checkpoint(tmp_path / "a.safetensors")
    async with opened(tmp_path, opening=opening, watch_interval_s=0.05) as registry:
        write_checkpoint(tmp_path / "b.safetensors")
        await until(lambda: versions(registry, "loading") != [])
        write_checkpoint(tmp_path / "c.safetensors")
        await until(lambda: [name for name, _ in versions(registry)] == ["a", "c"])
        before = registry.get("a").version
        write_checkpoint(tmp_path / "a.safetensors", seed=1)
        await until(lambda: registry.get("a").version != before)
        assert [name for name, _ in versions(registry, "loading")] == ["b"]
    stuck.set()


async def test_a_load_that_takes_longer_than_it_may_has_failed(tmp_path: Path) -> None:
    stuck = threading.Event()

    def opening(kind: str, path: Path, options: BackendOptions) -> Backend:
        stuck.wait(60)
        return open_backend(kind, path, options)

    write_checkpoint(tmp_path / "a.safetensors")
    async with opened(tmp_path, opening=opening, load_timeout_s=0.2) as registry:
        assert [name for name, _ in versions(registry, "failed")] == ["a"]
        assert registry.hung == 1
        with pytest.raises(NotReady):
            registry.get("a")
    stuck.set()


async def test_a_checkpoint_that_is_replaced_while_it_is_loaded_is_loaded_again(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.safetensors")
    opened_times = 0

    def opening(kind: str, checkpoint: Path, options: BackendOptions) -> Backend:
        nonlocal opened_times
        opened_times += 1
        if opened_times < 4:
            write_checkpoint(path, seed=opened_times)
        return open_backend(kind, checkpoint, options)

    async with opened(tmp_path, opening=opening) as registry:
        assert registry.get("a").state == "ready"
        assert opened_times == 4


def test_the_service_serves_reloads_and_ends_beside_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    write_checkpoint(tmp_path / "a.safetensors")
    environment = {
        "DEPTH_MODELS": str(tmp_path),
        "DEPTH_BACKEND": "simulated",
        "DEPTH_WATCH_INTERVAL_S": "0.1",
    }
    process = Process(SERVE, environment)
    try:
        process.until("ready")
        write_checkpoint(tmp_path / "b.safetensors")
        names: list[str] = []
        while names != ["a", "b"]:
            models = httpx.get(f"{process.url}/v1/models").json()["models"]
            names = [model["name"] for model in models if model["state"] == "ready"]
        assert "pipe.safetensors is no regular file" in process.text
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    finally:
        process.kill()
