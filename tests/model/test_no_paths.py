"""What is handed out tells nothing of the machine that made it."""

import sysconfig
from pathlib import Path

import pytest

import model
from model.export import export_onnx, export_openvino
from model.exported import describe
from model.metadata import CheckpointMetadata
from tests.model.networks import lively

pytestmark = pytest.mark.timeout(400)

HERE = (str(Path(model.__file__).parents[1]), sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"))
"""Where our code, other packages and Python itself lie."""


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_an_export_holds_no_path_of_the_machine_that_made_it(suffix, tmp_path):
    network = lively("tiny")
    description = describe(CheckpointMetadata(config=network.config))
    write = export_onnx if suffix == ".onnx" else export_openvino
    write(network, tmp_path / f"tiny{suffix}", description)
    written = sorted(tmp_path.iterdir())
    assert written
    for path in written:
        content = path.read_bytes()
        for folder in (*HERE, str(tmp_path)):
            assert folder.encode() not in content, f"{path.name} names {folder}"
        assert b".py" not in content
