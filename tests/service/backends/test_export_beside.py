"""An export that lies beside its checkpoint, as a server without torch needs it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import load_checkpoint
from model.export import FLOAT32_ERROR, export_openvino
from model.exported import describe
from model.metadata import contents_sha256
from model.predictor import Predictor
from tests.service.checkpoints import write_checkpoint

ROOT = Path(__file__).parents[3]
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as where it is not installed
from pathlib import Path
import numpy as np
from service.backends import BackendError, BackendOptions, open_backend
try:
    options = BackendOptions(cache_dir=Path(sys.argv[2]), precision="float32")
    backend = open_backend("openvino", Path(sys.argv[1]), options)
except BackendError as error:
    sys.exit(str(error))
np.save(sys.argv[3], backend.predict(np.load(sys.argv[4])))
"""


def without_torch(checkpoint: Path, images: np.ndarray) -> np.ndarray | str:
    """Return the disparity that a process without torch answers, or its last words."""
    folder = checkpoint.parent
    np.save(folder / "images.npy", images)
    arguments = [checkpoint, folder / "cache", folder / "disparity.npy", folder / "images.npy"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stderr if done.returncode else np.load(folder / "disparity.npy")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do what the error below says, once and in this process, to save time."""
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("exported") / "street.safetensors")
    network, metadata = load_checkpoint(checkpoint)
    description = describe(metadata, checkpoint_sha256=contents_sha256(checkpoint), uint8_input=True)
    export_openvino(network, checkpoint.with_suffix(".xml"), description)
    return checkpoint


@pytest.fixture
def street(exported: Path, tmp_path: Path) -> Path:
    """A checkpoint with its export beside it."""
    shutil.copytree(exported.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / exported.name


def test_without_torch_the_export_beside_a_checkpoint_is_what_is_served(
    street: Path, images: np.ndarray
) -> None:
    expected = Predictor.from_checkpoint(street).disparity(
        np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / 255
    )
    np.testing.assert_allclose(without_torch(street, images), expected, rtol=FLOAT32_ERROR)
    assert not list((street.parent / "cache" / "openvino").rglob("*.xml"))


def test_without_torch_and_without_an_export_the_error_says_how_to_make_one(
    street: Path, images: np.ndarray
) -> None:
    street.with_suffix(".xml").unlink()
    refused = without_torch(street, images)
    assert "has no export beside it" in refused
    assert "expected street.xml from: depth-export street.safetensors --format openvino" in refused


@pytest.mark.parametrize(("said", "instead"), [("uint8_input", "false"), ("batch", "1")])
def test_an_export_that_takes_other_input_is_not_used(
    street: Path, images: np.ndarray, said: str, instead: str
) -> None:
    xml = street.with_suffix(".xml")
    text, found = re.subn(rf"({said}&quot;:)(true|null)", rf"\g<1>{instead}", xml.read_text())
    assert found == 1
    xml.write_text(text)
    assert "has no export beside it" in without_torch(street, images)


@pytest.mark.parametrize("content", ["", "<net/>", "<?xml version='1.0'?><net name='x' version='11'"])
def test_what_is_no_export_is_not_used(street: Path, images: np.ndarray, content: str) -> None:
    street.with_suffix(".xml").write_text(content)
    assert "has no export beside it" in without_torch(street, images)


def test_the_export_of_a_checkpoint_that_was_replaced_is_not_used(street: Path, images: np.ndarray) -> None:
    write_checkpoint(street, seed=1)
    assert "has no export beside it" in without_torch(street, images)
