"""The CUDA path on a device that computes on the CPU, and notes who asks it for what."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.export import FLOAT32_ERROR
from service.backends import BackendOptions, DeviceLost
from service.backends.choose import check_golden
from service.backends.cuda import set_arithmetic
from service.backends.torch import TorchBackend

MAX_BATCH = 4


class ComputedAtOnce:
    """A device whose graphs are the work itself; whoever asks while it is not current is found out."""

    torch_device = torch.device("cpu")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked_elsewhere: list[str] = []
        self.locked_for: list[tuple[str, bool]] = []
        self.streams: list[object] = []
        self.graphs: list[tuple[object, object, Tensor]] = []
        self.replayed: list[tuple[object, int]] = []
        self.broken = self.gone = False
        self.together: threading.Barrier | None = None
        self._thread = threading.local()

    def _asked(self, what: str) -> None:
        if not getattr(self._thread, "current", False):
            self.asked_elsewhere.append(what)

    @contextmanager
    def current(self) -> Iterator[None]:
        before = getattr(self._thread, "current", False)
        self._thread.current = True
        try:
            yield
        finally:
            self._thread.current = before

    def stream(self) -> object:
        self._asked("stream")
        self.streams.append(object())
        return self.streams[-1]

    @contextmanager
    def on(self, stream: object) -> Iterator[None]:
        self._asked("on")
        self._thread.stream = stream
        yield
        self._thread.stream = None

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        self._asked("pinned")
        return torch.empty(shape, dtype=dtype)

    def pool(self) -> object:
        self._asked("pool")
        return object()

    def record(self, work: Callable[[], Tensor], pool: Any) -> Callable[[], Tensor]:
        self._asked("record")
        self.locked_for.append(("record", self.lock.locked()))
        stream, result = self._thread.stream, work()
        self.graphs.append((stream, pool, result))

        def replay() -> Tensor:
            self._asked("replay")
            self.replayed.append((self._thread.stream, len(result)))
            if self.broken:
                raise RuntimeError("an illegal memory access was encountered")
            return result.copy_(work())

        return replay

    def wait(self) -> None:
        self._asked("wait")
        if self.together is not None:
            self.together.wait(30)

    def works(self) -> bool:
        self._asked("works")
        return not self.gone

    def memory_bytes(self) -> int:
        return 7

    def give_back(self) -> None:
        self._asked("give_back")
        if self.gone:
            raise RuntimeError("an illegal memory access was encountered")
        self.locked_for.append(("give_back", self.lock.locked()))


@pytest.fixture
def device() -> ComputedAtOnce:
    return ComputedAtOnce()


def opened(checkpoint: Path, device: ComputedAtOnce, **options: object) -> TorchBackend:
    chosen = BackendOptions(max_batch=MAX_BATCH, precision="float32", threads=1, **options)  # type: ignore[arg-type]
    return TorchBackend(checkpoint, chosen, cuda=device)


@pytest.fixture(scope="module")
def plain(checkpoint: Path, images: np.ndarray) -> np.ndarray:
    return TorchBackend(checkpoint, BackendOptions(precision="float32", threads=1)).predict(images)


@pytest.mark.parametrize("graphs", [True, False])
def test_batches_of_every_size_are_what_the_plain_path_returns(
    graphs: bool, checkpoint: Path, device: ComputedAtOnce, images: np.ndarray, plain: np.ndarray
) -> None:
    backend = opened(checkpoint, device, cuda_graphs=graphs)
    check_golden(backend)
    for places in ([0], [1], [0, 1], [2, 1, 0], [0, 1, 2, 0]):
        np.testing.assert_allclose(backend.predict(images[places]), plain[places], rtol=FLOAT32_ERROR)
    first = backend.predict(images[:1])
    kept = first.copy()
    backend.predict(images[1:2])
    backend.predict(images[2:3])
    assert np.array_equal(first, kept)


def test_every_call_is_made_while_the_device_is_current(
    checkpoint: Path, device: ComputedAtOnce, images: np.ndarray
) -> None:
    """Of pinned memory, too: it would take a context on the first device, and memory there."""
    backend = opened(checkpoint, device)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(backend.predict, images).result()
    device.broken = True
    with pytest.raises(RuntimeError):
        backend.predict(images)
    backend.close()
    assert device.asked_elsewhere == []


def test_a_lane_has_a_stream_and_buffers_of_its_own_and_a_pool_for_all_its_graphs(
    checkpoint: Path, device: ComputedAtOnce
) -> None:
    backend = opened(checkpoint, device)
    assert backend.lanes == len(device.streams) == 2
    for stream in device.streams:
        own = [(pool, result) for used, pool, result in device.graphs if used is stream]
        assert [len(result) for _, result in own] == [4, 2, 1]  # the largest makes room for the others
        assert len({id(pool) for pool, _ in own}) == 1
    assert len({id(pool) for _, pool, _ in device.graphs}) == 2
    assert len({result.data_ptr() for _, _, result in device.graphs}) == 6


def test_as_many_batches_run_at_once_as_there_are_lanes_and_none_sees_another(
    checkpoint: Path, device: ComputedAtOnce, images: np.ndarray, plain: np.ndarray
) -> None:
    backend = opened(checkpoint, device)
    device.together = threading.Barrier(backend.lanes)
    batches = [[0], [1, 2], [2], [0, 1, 2]] * 5
    with ThreadPoolExecutor(backend.lanes) as pool:
        answers = list(pool.map(lambda places: backend.predict(images[places]), batches))
    for places, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer, plain[places], rtol=FLOAT32_ERROR)
    assert {id(stream) for stream, _ in device.replayed} == set(map(id, device.streams))


def test_recording_and_giving_memory_back_exclude_each_other(
    checkpoint: Path, device: ComputedAtOnce
) -> None:
    opened(checkpoint, device).close()
    assert device.locked_for == [("record", True)] * 6 + [("give_back", True)]


def test_the_golden_check_runs_the_graphs_of_every_lane(checkpoint: Path, device: ComputedAtOnce) -> None:
    check_golden(opened(checkpoint, device))
    assert {(id(stream), size) for stream, size in device.replayed} == {
        (id(stream), size) for stream in device.streams for size in (1, 2, 4)
    }


def test_a_context_that_is_gone_is_told_from_a_batch_that_failed(
    checkpoint: Path, device: ComputedAtOnce, images: np.ndarray
) -> None:
    backend = opened(checkpoint, device)
    device.broken = True
    with pytest.raises(RuntimeError, match="illegal memory"):
        backend.predict(images)
    device.gone = True
    with pytest.raises(DeviceLost, match="illegal memory"):
        backend.predict(images)


@pytest.fixture
def switches() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    torch.backends.cudnn.benchmark = False


@pytest.mark.parametrize(("precision", "tf32"), [("float32", False), ("tf32", True), ("bfloat16", True)])
@pytest.mark.usefixtures("switches")
def test_float32_is_float32_and_every_way_of_asking_torch_for_it_agrees(precision: str, tf32: bool) -> None:
    for _ in range(2):  # the second model that is loaded, too
        set_arithmetic(precision)
        assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (tf32, tf32)
        assert torch.backends.cuda.matmul.fp32_precision == ("tf32" if tf32 else "ieee")
        assert (torch.backends.cudnn.conv.fp32_precision == "tf32") is tf32
        assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")


def test_closing_a_backend_whose_device_is_lost_raises_nothing(
    checkpoint: Path, device: ComputedAtOnce
) -> None:
    backend = opened(checkpoint, device)
    device.gone = True
    backend.close()


def test_closing_waits_for_the_batch_under_way(
    checkpoint: Path, device: ComputedAtOnce, images: np.ndarray, plain: np.ndarray
) -> None:
    backend = opened(checkpoint, device)
    device.together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(backend.predict, images)
        closing = pool.submit(backend.close)
        device.together.wait(30)
        np.testing.assert_allclose(answer.result(), plain, rtol=FLOAT32_ERROR)
        closing.result()
