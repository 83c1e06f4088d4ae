import os
import subprocess
import sys
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from model.export import BFLOAT16_ERROR, FLOAT32_ERROR
from model.predictor import Predictor
from service.backends import Backend, BackendError, BackendOptions, open_backend
from service.backends.openvino import computes_in_bfloat16
from tests.service.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def expected(checkpoint: Path, images: np.ndarray) -> np.ndarray:
    predictor = Predictor.from_checkpoint(checkpoint)
    return predictor.disparity(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / 255)


def opened(kind: str, checkpoint: Path, cache_dir: Path, **options: object) -> Backend:
    settings = BackendOptions(cache_dir=cache_dir, **{"threads": 1, **options})  # type: ignore[arg-type]
    return open_backend(kind, checkpoint, settings)


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_a_backend_in_float32_agrees_with_the_predictor(
    kind: str, checkpoint: Path, cache_dir: Path, images: np.ndarray, expected: np.ndarray
) -> None:
    backend = opened(kind, checkpoint, cache_dir, precision="float32")
    assert (backend.height, backend.width) == (64, 96)
    for count in (1, 2, 3):
        answer = backend.predict(images[:count])
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected[:count], rtol=FLOAT32_ERROR)
    backend.close()


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_a_backend_in_bfloat16_agrees_as_far_as_that_goes(
    kind: str, checkpoint: Path, cache_dir: Path, images: np.ndarray, expected: np.ndarray
) -> None:
    if kind == "openvino" and not computes_in_bfloat16():
        pytest.skip("this processor has no bfloat16 arithmetic")
    answer = opened(kind, checkpoint, cache_dir, precision="bfloat16").predict(images)
    error = np.abs(answer - expected) / expected
    assert error.mean() < BFLOAT16_ERROR
    assert np.quantile(error, 0.99) < 2 * BFLOAT16_ERROR
    # Depth is as finely graded as in float32: bfloat16 itself has 256 values between 1 and 4.
    assert len(np.unique(answer)) > 0.9 * len(np.unique(expected))


LOOK_AT_PROCESSORS = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
import numpy as np
from service.backends import BackendOptions, open_backend
checkpoint, cache, threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
backend = open_backend("openvino", checkpoint, BackendOptions(cache_dir=cache, threads=threads))
images = np.zeros((3, 64, 96, 3), np.uint8)
allowed = set()
with ThreadPoolExecutor(1) as pool:
    busy = pool.submit(lambda: [backend.predict(images) for _ in range(100)])
    while not busy.done():
        for path in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):  # it ended since
                allowed.add(frozenset(os.sched_getaffinity(int(path.name))))
sys.exit(str(allowed) if allowed != {frozenset(os.sched_getaffinity(0))} else 0)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_may_run_on_every_processor_of_its_process(
    checkpoint: Path, cache_dir: Path, threads: int
) -> None:
    """Pinned, the networks of several processes would share the first one."""
    opened("openvino", checkpoint, cache_dir).close()  # exported here, so that the child need not
    command = [sys.executable, "-c", LOOK_AT_PROCESSORS, str(checkpoint), str(cache_dir), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_answer_is_not_overwritten_by_the_next(
    checkpoint: Path, cache_dir: Path, images: np.ndarray
) -> None:
    backend = opened("openvino", checkpoint, cache_dir)
    first = backend.predict(images[:1])
    kept = first.copy()
    backend.predict(images[1:2])
    assert np.array_equal(first, kept)


def test_a_batch_that_is_divided_among_threads_comes_back_whole_and_in_order(
    checkpoint: Path, cache_dir: Path, images: np.ndarray
) -> None:
    backend = opened("openvino", checkpoint, cache_dir, threads=2, precision="float32")
    alone = [backend.predict(images[place : place + 1])[0] for place in range(3)]
    for places in ([0, 1], [2, 1, 0], [0, 1, 2, 2, 1]):
        together = backend.predict(images[places])
        np.testing.assert_allclose(together, [alone[place] for place in places], rtol=FLOAT32_ERROR)
    assert "2 threads" in backend.description


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_batches_that_share_the_threads_have_the_answers_that_they_have_alone(
    checkpoint: Path, cache_dir: Path, images: np.ndarray, threads: int
) -> None:
    backend = opened("openvino", checkpoint, cache_dir, threads=threads)
    alone = [backend.predict(images[place : place + 1])[0] for place in range(3)]
    batches = [[0], [1, 2], [2, 1, 0], [1], [0, 1, 2, 2, 1]] * 20
    with ThreadPoolExecutor(backend.lanes) as pool:
        together = list(pool.map(lambda places: backend.predict(images[places]), batches))
    backend.close()
    for places, answers in zip(batches, together, strict=True):
        for place, answer in zip(places, answers, strict=True):
            assert np.array_equal(answer, alone[place])


def test_closing_waits_for_the_batch_under_way(checkpoint: Path, cache_dir: Path, images: np.ndarray) -> None:
    backend = opened("openvino", checkpoint, cache_dir, threads=2)
    expected = backend.predict(images[:2])
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(backend.predict, images[:2]) for _ in range(2)]
        wait(answers, return_when=FIRST_COMPLETED)
        backend.close()
        assert all(np.array_equal(answer.result(), expected) for answer in answers)


def test_openvino_serves_without_torch_in_the_process(checkpoint: Path, cache_dir: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from service.backends import BackendOptions, choose, open_backend\n"
        "place = choose()\n"
        f"options = BackendOptions(cache_dir=Path({str(cache_dir)!r}), threads=1)\n"
        f"backend = open_backend('openvino', Path({str(checkpoint)!r}), options)\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_checkpoint_is_exported_once(checkpoint: Path, cache_dir: Path) -> None:
    opened("openvino", checkpoint, cache_dir)
    exports = {path: path.stat().st_mtime_ns for path in (cache_dir / "openvino").rglob("*.xml")}
    opened("openvino", checkpoint, cache_dir)
    assert {path: path.stat().st_mtime_ns for path in (cache_dir / "openvino").rglob("*.xml")} == exports


@pytest.mark.timeout(300)  # two children that import torch, on however busy a machine
def test_another_checkpoint_at_the_same_path_is_exported_anew(tmp_path: Path, images: np.ndarray) -> None:
    path = write_checkpoint(tmp_path / "tiny.safetensors", seed=0)
    before = opened("openvino", path, tmp_path / "cache").predict(images)
    write_checkpoint(path, seed=1)
    after = opened("openvino", path, tmp_path / "cache").predict(images)
    assert not np.allclose(before, after, rtol=0.01)


@pytest.mark.parametrize("kind", ["openvino", "torch", "simulated"])
@pytest.mark.parametrize("content", [None, b"not a checkpoint"])
def test_a_file_that_is_no_checkpoint_is_named(
    kind: str, content: bytes | None, tmp_path: Path, cache_dir: Path
) -> None:
    path = tmp_path / "broken.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BackendError, match=r"broken\.safetensors"):
        opened(kind, path, cache_dir)


def test_float16_on_a_cpu_is_refused(checkpoint: Path, cache_dir: Path) -> None:
    with pytest.raises(BackendError, match="not float16"):
        opened("openvino", checkpoint, cache_dir, precision="float16")


def test_the_simulated_device_answers_each_image_by_itself(checkpoint: Path, cache_dir: Path) -> None:
    images = np.zeros((3, 64, 96, 3), np.uint8)
    images[..., 1] = np.array([0, 127, 255])[:, None, None]
    answer = opened("simulated", checkpoint, cache_dir).predict(images)
    assert answer[:, 0, 0].tolist() == [1 / 256, 0.5, 1.0]
