import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.backends import Backend, BackendOptions, open_backend
from service.contract.errors import InvalidArgument, NotReady, UnknownModel
from service.models.registry import Registry
from service.models.served import OpenBackend
from service.scheduling.clock import MonotonicClock
from service.telemetry.metrics import UNKNOWN, Metrics
from tests.fakes import ticket
from tests.service.checkpoints import write_checkpoint
from tests.service.opened import settings


@asynccontextmanager
async def opened(
    folder: Path, *, opening: OpenBackend = open_backend, **chosen: object
) -> AsyncIterator[Registry]:
    """A registry over a folder, on a device that only sleeps, looking when it is told to."""
    wanted = settings(models=folder, backend="simulated", **{"watch_interval_s": 0.0, **chosen})
    registry = Registry(wanted, Metrics(CollectorRegistry()), lambda: None, MonotonicClock(), opening)
    async with registry:
        await registry.wait_looked()
        yield registry


def versions(registry: Registry, state: str = "ready") -> list[tuple[str, str]]:
    return [(info.name, info.version) for info in registry.infos() if info.state == state]


async def test_every_model_of_the_folder_is_served_and_a_student_is_the_default(tmp_path: Path) -> None:
    for name in ("a", "student", "z"):
        write_checkpoint(tmp_path / f"{name}.safetensors")
    async with opened(tmp_path) as registry:
        assert [name for name, _ in versions(registry)] == ["a", "student", "z"]
        assert registry.get().name == "student"
        assert registry.get("z").name == "z"
        assert [info.name for info in registry.infos() if info.default] == ["student"]


async def test_an_unknown_name_is_answered_with_the_known_and_is_one_word_in_metrics(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.safetensors")
    async with opened(tmp_path) as registry:
        with pytest.raises(UnknownModel, match="no model 'b'; expected one of a"):
            registry.get("b")
        with pytest.raises(UnknownModel, match="of version '3'"):
            registry.get("a", "3")
        assert registry.label("b") == UNKNOWN
        assert registry.label("a") == registry.label(None) == "a"


async def test_the_newest_versions_are_served_as_many_as_wanted(tmp_path: Path) -> None:
    for version in ("1", "2", "10"):
        write_checkpoint(tmp_path / "student" / f"{version}.safetensors")
    async with opened(tmp_path, versions_kept=2) as registry:
        assert versions(registry) == [("student", "10"), ("student", "2")]
        assert registry.get().version == "10"
        assert registry.get("student", "2").version == "2"


async def test_a_changed_file_is_swapped_in_while_the_old_one_answers_what_it_took(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.safetensors", seed=0)
    async with opened(tmp_path) as registry:
        old = registry.get()
        with old.batcher.place(ticket()) as place:
            write_checkpoint(path, seed=1)
            await registry.look()
            assert registry.get() is not old
            assert registry.get().version != old.version
            answered = await place.submit(np.zeros((64, 96, 3), np.uint8))
            assert answered.result.shape == (64, 96)
        with pytest.raises(NotReady), old.batcher.place(ticket()):
            pass


async def test_a_broken_file_changes_nothing_about_what_serves(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.safetensors")
    async with opened(tmp_path) as registry:
        old = registry.get()
        path.write_bytes(b"cut short")
        await registry.look()
        assert registry.get() is old
        with pytest.raises(NotReady, match="what served before still serves"):
            await registry.look("a")
        assert registry.get() is old
        write_checkpoint(path, seed=2)
        await registry.look()
        assert registry.get() is not old


async def test_a_model_that_never_loaded_is_shown_with_its_problem(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"not a checkpoint")
    async with opened(tmp_path) as registry:
        (info,) = registry.infos()
        assert info.state == "failed"
        assert info.problem is not None
        assert str(tmp_path) not in info.problem
        with pytest.raises(NotReady, match="model 'a' is failed"):
            registry.get()


async def test_a_file_that_is_gone_is_no_longer_served(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.safetensors")
    write_checkpoint(tmp_path / "b.safetensors")
    async with opened(tmp_path) as registry:
        path.unlink()
        await registry.look()
        assert [name for name, _ in versions(registry)] == ["b"]


async def test_a_folder_that_is_away_takes_nothing_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    write_checkpoint(folder / "a.safetensors", seed=0)
    async with opened(folder) as registry:
        served = registry.get()
        folder.rename(tmp_path / "old")
        await registry.look()
        assert registry.get() is served
        folder.mkdir()
        write_checkpoint(folder / "a.safetensors", seed=1)
        await registry.look()
        assert registry.get() is not served


async def test_a_file_that_cannot_be_looked_at_is_not_taken_for_gone_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_checkpoint(tmp_path / "a.safetensors")
    write_checkpoint(tmp_path / "b.safetensors")
    seen = Path.stat

    def stat(self: Path, **options: bool) -> os.stat_result:
        if self == path:
            raise OSError(errno.EIO, "Input/output error")
        return seen(self, **options)

    async with opened(tmp_path) as registry:
        monkeypatch.setattr(Path, "stat", stat)
        write_checkpoint(tmp_path / "c.safetensors")
        await registry.look()
        assert [name for name, _ in versions(registry)] == ["a", "b", "c"]


async def test_a_load_goes_on_where_its_caller_has_gone_and_unloading_breaks_it_off(tmp_path: Path) -> None:
    go, loads = threading.Event(), 0

    def opening(kind: str, path: Path, options: BackendOptions) -> Backend:
        nonlocal loads
        loads += 1
        if loads > 1:
            go.wait(30)
        return open_backend(kind, path, options)

    write_checkpoint(tmp_path / "a.safetensors")
    async with opened(tmp_path, opening=opening) as registry:
        await registry.unload("a")
        for number in (2, 3):
            loading = asyncio.ensure_future(registry.look("a"))
            async with asyncio.timeout(30):
                while loads < number:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)
            assert versions(registry, "loading") != []
            if number == 2:
                await registry.unload("a")
                assert registry.infos() == []
            else:
                loading.cancel()
                go.set()
            await asyncio.gather(loading, return_exceptions=True)
        async with asyncio.timeout(30):
            while not versions(registry):  # noqa: ASYNC110 - nobody waits for it any more
                await asyncio.sleep(0.01)
        assert [name for name, _ in versions(registry)] == ["a"]


async def test_an_unloaded_model_stays_away_until_it_is_asked_for(tmp_path: Path) -> None:
    for name in ("a", "student"):
        write_checkpoint(tmp_path / f"{name}.safetensors")
    async with opened(tmp_path) as registry:
        await registry.unload("a")
        await registry.look()
        assert [name for name, _ in versions(registry)] == ["student"]
        await registry.look("a")
        assert [name for name, _ in versions(registry)] == ["a", "student"]
        with pytest.raises(InvalidArgument, match="answers requests that name none"):
            await registry.unload("student")
        with pytest.raises(UnknownModel):
            await registry.unload("b")


@pytest.mark.parametrize("name", ["../a", "missing", "a/b"])
async def test_a_reload_by_a_name_that_is_no_checkpoint_is_refused(name: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.safetensors")
    async with opened(tmp_path) as registry:
        with pytest.raises(UnknownModel):
            await registry.look(name)


async def test_a_watched_folder_is_looked_through_by_itself(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.safetensors")
    async with opened(tmp_path, watch_interval_s=0.05) as registry:
        write_checkpoint(tmp_path / "b.safetensors")
        async with asyncio.timeout(30):
            while "b" not in [name for name, _ in versions(registry)]:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
