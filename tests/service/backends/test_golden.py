"""Nothing serves that does not return what the plain network returned for the drawn image."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import load_checkpoint
from model.checksums import write_checksums
from model.export import export_openvino
from model.exported import describe
from model.metadata import contents_sha256
from service.backends import Backend, BackendError, BackendOptions, open_backend
from service.backends.exports import ExportCache
from tests.service.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with its export beside it."""
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("exported") / "street.safetensors")
    network, metadata = load_checkpoint(checkpoint)
    description = describe(metadata, checkpoint_sha256=contents_sha256(checkpoint), uint8_input=True)
    export_openvino(network, checkpoint.with_suffix(".xml"), description)
    return checkpoint


@pytest.fixture
def street(exported: Path, tmp_path: Path) -> Path:
    shutil.copytree(exported.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / exported.name


def opened(checkpoint: Path, kind: str = "openvino", **options: object) -> Backend:
    chosen = {"cache_dir": checkpoint.parent / "cache", "precision": "float32", "threads": 1, **options}
    return open_backend(kind, checkpoint, BackendOptions(**chosen))


def zeros(floats: np.ndarray) -> None:
    floats[: len(floats) // 2] = 0


def a_nan(floats: np.ndarray) -> None:
    floats[len(floats) // 2] = np.nan


def noise(floats: np.ndarray) -> None:
    floats *= np.random.default_rng(0).normal(1, 0.2, len(floats)).astype(np.float32)


def damaged(path: Path, damage: Callable[[np.ndarray], None], start: int = 0) -> None:
    """Change the weights in a file, and nothing that could as well be a whole number."""
    content = bytearray(path.read_bytes())
    values = np.frombuffer(content, np.float32, (len(content) - start) // 4, offset=start)
    weights = (np.abs(values) > 1e-6) & (np.abs(values) < 1e3)
    floats = values[weights]
    damage(floats)
    values[weights] = floats
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [zeros, a_nan, noise])
def test_an_export_with_other_weights_than_it_was_made_with_is_refused_by_name(
    street: Path, damage: Callable[[np.ndarray], None]
) -> None:
    damaged(street.with_suffix(".bin"), damage)
    street.with_suffix(".sha256").unlink()  # else the checksum already tells
    with pytest.raises(BackendError, match=r"street\.safetensors on OpenVINO .*drawn image|NaN or infinite"):
        opened(street)


@pytest.mark.parametrize("damage", [zeros, noise])
def test_a_checkpoint_with_other_weights_than_it_was_saved_with_is_refused_by_name(
    street: Path, damage: Callable[[np.ndarray], None]
) -> None:
    start = 8 + int.from_bytes(street.read_bytes()[:8], "little")
    damaged(street, damage, start)
    with pytest.raises(BackendError, match=r"street\.safetensors on torch .*off the plain network's"):
        opened(street, "torch")


class Cached:
    """A checkpoint whose export and compiled network are in a cache of its own."""

    def __init__(self, exported: Path, folder: Path) -> None:
        self.checkpoint = Path(shutil.copy(exported, folder))
        self.folder = folder / "cache" / "openvino"
        place = ExportCache(self.checkpoint, folder / "cache")._exported
        place.mkdir(parents=True)
        files = [place / "network.bin", place / "network.xml"]
        for file in files:
            shutil.copy(exported.with_suffix(file.suffix), file)
        write_checksums(place / "network.sha256", files)
        self.expected = self.ask()

    def ask(self) -> np.ndarray:
        backend = opened(self.checkpoint)
        try:
            return backend.predict(np.full((1, 64, 96, 3), 77, np.uint8))
        finally:
            backend.close()

    def stamps(self) -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in self.folder.rglob("*") if path.is_file()}

    def file(self, pattern: str) -> Path:
        return next(path for path in sorted(self.folder.glob(pattern)) if path.is_file())


@pytest.fixture(scope="module")
def cached(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Cached:
    return Cached(exported, tmp_path_factory.mktemp("cached"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def no_weights(path: Path) -> None:
    damaged(path, zeros)


@pytest.mark.timeout(600)  # a child that imports torch, on however busy a machine
@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("exported/*/network.bin", no_weights),
        ("compiled/*/*", cut),
        ("compiled/*/*", no_weights),
        ("compiled/*.sha256", Path.unlink),
    ],
)
def test_whatever_is_damaged_in_the_cache_is_made_again_once(
    cached: Cached, pattern: str, damage: Callable[[Path], object]
) -> None:
    before = cached.stamps()
    damage(cached.file(pattern))
    np.testing.assert_allclose(cached.ask(), cached.expected, rtol=1e-4)
    mended = cached.stamps()
    assert mended.keys() == before.keys()
    assert mended != before
    np.testing.assert_allclose(cached.ask(), cached.expected, rtol=1e-4)
    again = cached.stamps()
    assert all(again[path] == at for path, at in mended.items() if not path.endswith(".sha256"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wrong_weights_with_right_checksums_in_the_cache_are_made_again(cached: Cached) -> None:
    weights = cached.file("exported/*/network.bin")
    no_weights(weights)
    write_checksums(weights.with_suffix(".sha256"), [weights, weights.with_suffix(".xml")])
    shutil.rmtree(cached.folder / "compiled")
    np.testing.assert_allclose(cached.ask(), cached.expected, rtol=1e-4)


def test_a_damaged_export_beside_its_checkpoint_is_not_used_where_its_checksum_tells(
    street: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged(street.with_suffix(".bin"), noise)
    with pytest.MonkeyPatch.context() as without_torch:
        without_torch.setitem(sys.modules, "torch", None)
        with pytest.raises(BackendError, match="has no export beside it"):
            opened(street)
    assert "street.bin has the SHA-256" in caplog.text
