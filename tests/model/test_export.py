import os
import signal
import stat
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace

import numpy as np
import openvino
import pytest

from model.checkpoint import save_checkpoint
from model.export import (
    BFLOAT16_ERROR,
    FLOAT32_ERROR,
    HALF_WEIGHTS_ERROR,
    export_onnx,
    export_openvino,
    measure_agreement,
)
from model.exported import EXPORT_KEY, ExportDescription, ExportedNetwork, describe
from model.metadata import CheckpointMetadata, DepthScale, Provenance, contents_sha256
from tests.model.networks import lively

# torch.export takes seconds on an idle core, and minutes on one that a training run shares.
pytestmark = pytest.mark.timeout(400)

SMALL_STUDENT = {"height": 64, "width": 96, "decoder_channels": (8, 8, 8, 8, 8)}
"""Overrides that leave the student its backbone, with TensorFlow's padding, and are quick to export."""


def described(network, **options):
    metadata = CheckpointMetadata(
        config=network.config,
        scale=DepthScale(unit="metre", metres_per_unit=2.5),
        provenance=Provenance(notes='<"Größe" & 640×192>'),
        foundation_sha256="ab" * 32,
    )
    return describe(metadata, **options)


@pytest.fixture(scope="module")
def student():
    return lively("student", **SMALL_STUDENT)


@pytest.fixture(scope="module")
def teacher():
    return lively("tiny-teacher")


@pytest.fixture(scope="module")
def ir(student, tmp_path_factory):
    """The student as OpenVINO IR that takes uint8 images, any number of them."""
    path = tmp_path_factory.mktemp("ir") / "new" / "student.xml"
    export_openvino(student, path, described(student, uint8_input=True))
    return path


@pytest.fixture(scope="module")
def onnx(student, tmp_path_factory):
    """The student as an ONNX file that takes float32 images, any number of them."""
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    export_onnx(student, path, described(student))
    return path


def test_an_ir_agrees_with_the_eager_network_at_every_batch_size(student, ir):
    for images in (1, 2, 5):
        assert measure_agreement(student, ir, images=images).largest < FLOAT32_ERROR


def test_an_ir_in_bfloat16_agrees_within_the_rounding_that_is_stated(student, ir):
    agreement = measure_agreement(student, ir, precision="bfloat16", images=2)
    assert agreement.mean < BFLOAT16_ERROR


def test_a_measurement_of_agreement_sees_another_network(ir):
    assert (
        measure_agreement(lively("student", seed=1, **SMALL_STUDENT), ir, images=2).largest
        > 100 * FLOAT32_ERROR
    )


def test_a_teacher_is_exported_with_its_foundation_at_another_size_and_a_fixed_batch(teacher, tmp_path):
    path = tmp_path / "teacher.xml"
    export_openvino(teacher, path, described(teacher, height=96, width=160, batch=3))
    assert measure_agreement(teacher, path).largest < FLOAT32_ERROR
    network = openvino.Core().read_model(path)
    assert list(network.inputs[0].shape) == [3, 3, 96, 160]
    assert list(network.outputs[0].shape) == [3, 96, 160]


def test_a_student_with_the_padding_of_tensorflow_is_exact_in_onnx_at_every_batch_size(student, onnx):
    for images in (1, 2, 5):
        assert measure_agreement(student, onnx, images=images).largest < FLOAT32_ERROR
    assert list(onnx.parent.iterdir()) == [onnx], "one file, without external data or anything half-written"


def test_a_teacher_in_onnx_takes_uint8_and_says_what_it_is(teacher, tmp_path):
    path = tmp_path / "teacher.onnx"
    description = described(teacher, uint8_input=True)
    export_onnx(teacher, path, description)
    for images in (1, 3):
        assert measure_agreement(teacher, path, images=images).largest < FLOAT32_ERROR
    golden = teacher.deployed().golden_answer()
    assert ExportedNetwork(path).description == replace(description, golden=golden)


def test_an_ir_says_what_it_is_and_names_its_input_and_output(student, ir):
    network = openvino.Core().read_model(ir)
    golden = student.deployed().golden_answer()
    assert ExportDescription.of_openvino(network) == replace(
        described(student, uint8_input=True), golden=golden
    )
    assert network.inputs[0].any_name == "image"
    assert network.inputs[0].element_type == openvino.Type.u8
    assert network.outputs[0].any_name == "disparity"
    assert str(network.inputs[0].partial_shape) == "[?,64,96,3]"
    assert str(network.outputs[0].partial_shape) == "[?,64,96]"


def test_an_ir_is_three_files_with_ordinary_permissions_and_nothing_beside(ir):
    names = [f"student{suffix}" for suffix in (".bin", ".sha256", ".xml")]
    assert sorted(path.name for path in ir.parent.iterdir()) == names
    assert {stat.S_IMODE(path.stat().st_mode) & 0o444 for path in ir.parent.iterdir()} == {0o444}


def test_an_answer_is_the_callers_own_and_not_overwritten_by_the_next(ir):
    exported = ExportedNetwork(ir)
    dark, bright = np.zeros((1, 64, 96, 3), np.uint8), np.full((1, 64, 96, 3), 255, np.uint8)
    first = exported.disparity(dark)
    kept = first.copy()
    assert not np.array_equal(exported.disparity(bright), kept)
    assert np.array_equal(first, kept)


LOOK_AT_PROCESSORS = """
import os, sys
from pathlib import Path
import numpy as np
from model.exported import ExportedNetwork
network = ExportedNetwork(Path(sys.argv[1]))
description = network.description
size = (description.height, description.width)
image = np.zeros((2, *size, 3), np.uint8) if description.uint8_input else np.zeros((2, 3, *size), np.float32)
network.disparity(image)
allowed = {frozenset(os.sched_getaffinity(int(path.name))) for path in Path("/proc/self/task").iterdir()}
sys.exit(str(allowed) if allowed != {frozenset(os.sched_getaffinity(0))} else 0)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
@pytest.mark.parametrize("kind", ["onnx", "xml"])
def test_an_export_may_run_on_every_processor_of_its_process(ir, onnx, kind):
    """Pinned, the networks of several processes would share processors while others idle."""
    path = ir if kind == "xml" else onnx
    done = subprocess.run([sys.executable, "-c", LOOK_AT_PROCESSORS, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_reading_and_running_an_ir_needs_no_torch(ir):
    code = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from model.exported import ExportedNetwork;"
        "network = ExportedNetwork(Path(sys.argv[1]));"
        "assert network.disparity(np.zeros((2, 64, 96, 3), np.uint8)).shape == (2, 64, 96);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, ir], check=True)


KILLED_WHILE_EXPORTING = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import openvino
from model.export import save_ir

path = Path(sys.argv[1])
network = openvino.Core().read_model(path)
renames = []
def kill_before_the_last(event, arguments):
    if event == "os.rename":
        renames.append(arguments)
        if str(arguments[1]) == str(path):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill_before_the_last)
save_ir(network, path, half_weights=True)
"""


def test_a_kill_while_an_ir_is_replaced_leaves_no_description_without_its_own_weights(ir, tmp_path):
    path = tmp_path / ir.name
    for suffix in (".xml", ".bin"):
        path.with_suffix(suffix).write_bytes(ir.with_suffix(suffix).read_bytes())
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_EXPORTING, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.with_suffix(".bin").stat().st_size < 0.7 * ir.with_suffix(".bin").stat().st_size
    assert not path.exists()


def depth_export(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "model.export", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_exports_a_checkpoint_beside_it_with_its_hash_and_says_how_well_it_agrees(tmp_path):
    student = lively("tiny")
    checkpoint = tmp_path / "student.safetensors"
    metadata = save_checkpoint(checkpoint, student, CheckpointMetadata(config=student.config))
    done = depth_export(checkpoint, "--format", "openvino", "--uint8-input", "--half-weights")
    assert done.returncode == 0, done.stderr
    assert "relative error of disparity: mean" in done.stderr
    path = tmp_path / "student.xml"
    description = ExportedNetwork(path).description
    # Another process adds up in another order.
    ours, its = (
        np.frombuffer(b64decode(each.values), "<f4") for each in (metadata.golden, description.golden)
    )
    np.testing.assert_allclose(its, ours, rtol=1e-5)
    assert replace(description, golden=None) == describe(
        metadata, checkpoint_sha256=contents_sha256(checkpoint), uint8_input=True, half_weights=True
    )
    agreement = measure_agreement(student, path, images=2)
    assert 1e-6 < agreement.mean < HALF_WEIGHTS_ERROR
    assert path.with_suffix(".bin").stat().st_size < 0.6 * checkpoint.stat().st_size


def test_the_command_answers_a_checkpoint_that_it_cannot_use_in_one_line(tmp_path):
    done = depth_export(tmp_path / "none.safetensors", "--format", "onnx")
    assert done.returncode == 1
    assert (
        done.stderr
        == f"depth-export: {tmp_path}/none.safetensors: cannot be read (No such file or directory)\n"
    )


@pytest.mark.parametrize(
    ("write", "name", "options", "says"),
    [
        (export_openvino, "a.onnx", {}, "ends in .xml"),
        (export_onnx, "a.xml", {}, "ends in .onnx"),
        (export_onnx, "a.onnx", {"half_weights": True}, "float32 weights"),
        (export_openvino, "a.xml", {"height": 100}, "height is 100"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    student, tmp_path, write, name, options, says
):
    with pytest.raises(ValueError, match=says):
        write(student, tmp_path / name, described(student, **options))
    assert list(tmp_path.iterdir()) == []


def test_a_description_of_another_network_is_refused(student, teacher, tmp_path):
    with pytest.raises(ValueError, match="not the network's"):
        export_openvino(student, tmp_path / "a.xml", described(teacher))


def test_a_batch_size_without_room_for_an_image_is_refused(student):
    with pytest.raises(ValueError, match="batch is 0"):
        described(student, batch=0)


def test_an_ir_of_somebody_else_is_refused(tmp_path):
    parameter = openvino.opset13.parameter([1], np.float32)
    openvino.save_model(openvino.Model([parameter], [parameter]), tmp_path / "a.xml")
    with pytest.raises(ValueError, match=f"lacks '{EXPORT_KEY}'"):
        ExportedNetwork(tmp_path / "a.xml")


def test_onnx_in_bfloat16_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not bfloat16"):
        ExportedNetwork(tmp_path / "a.onnx", precision="bfloat16")
