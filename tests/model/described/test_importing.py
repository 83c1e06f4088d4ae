import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model.described import DescribedNetwork, parse_description, read_description
from model.described.importing import main
from model.described.runtime import RunningNetwork
from model.drawing import drawn_image
from tests.model.described.standins import write_network

SMALL = {"rule": "longest", "target": [64], "multiple": 8}


def described(tmp_path, **keys):
    path = tmp_path / "given.json"
    path.write_text(json.dumps(keys))
    return ["--description", str(path)]


def run(tmp_path, network, *options):
    main([str(network), "--output", str(tmp_path / "models"), *options])
    return read_description(tmp_path / "models" / f"{network.stem}.depth.json")


def test_an_import_writes_a_network_that_gives_its_golden_answer(tmp_path, capsys):
    network = write_network(tmp_path / "net.onnx")
    description = run(
        tmp_path, network, *described(tmp_path, size=SMALL), "--licence", "MIT", "--source", "here"
    )
    assert (description.licence, description.source, description.runtime) == ("MIT", "here", "auto")
    RunningNetwork(tmp_path / "models" / "net.onnx", description).check_golden()
    said = capsys.readouterr().out
    assert "takes any size" in said
    assert "ONNX Runtime and OpenVINO agree" in said
    assert "1242x375: seen at 64x16" in said
    assert "1080x1920: seen at 40x64" in said
    assert "320x240: seen at 64x48" in said
    assert "licence: MIT" in said


def test_a_preset_is_written_as_its_name_alone(tmp_path):
    network = write_network(tmp_path / "net.onnx", size=(192, 640))
    run(tmp_path, network, "--preset", "monodepth2", "--name", "net")
    written = json.loads((tmp_path / "models" / "net.depth.json").read_text())
    assert set(written) == {"format", "preset", "golden"}


def test_a_file_of_one_size_is_described_as_fixed(tmp_path, capsys):
    network = write_network(tmp_path / "net.onnx", size=(56, 84))
    description = run(tmp_path, network, "--preset", "depth-anything-v2")
    assert (description.size.rule, description.size.target) == ("fixed", (56, 84))
    assert "takes 84x56 alone" in capsys.readouterr().out


def baked(path):
    """A network that says that it takes any size, and resizes its output to the one of its export."""
    network = onnx.load(write_network(path))
    network.graph.initializer.append(helper.make_tensor("size", TensorProto.INT64, [4], [1, 1, 40, 56]))
    last = network.graph.node[-1]
    last.output[0] = "before"
    network.graph.node.append(helper.make_node("Resize", ["before", "", "", "size"], ["predicted_depth"]))
    onnx.save(network, path)
    return path


def test_a_file_that_answers_every_size_with_that_of_its_export_is_found_out(tmp_path, capsys):
    description = run(tmp_path, baked(tmp_path / "net.onnx"), *described(tmp_path, size=SMALL))
    assert (description.size.rule, description.size.target) == ("fixed", (40, 56))
    assert "answers each with 56x40" in capsys.readouterr().out


def antialiased(path):
    """A network that shrinks its input with antialias, which OpenVINO's reader of ONNX does not heed."""
    graph = helper.make_graph(
        [
            helper.make_node(
                "Resize", ["x", "", "", "size"], ["small"], mode="linear", antialias=1,
                coordinate_transformation_mode="half_pixel",
            ),
            helper.make_node("ReduceMean", ["small", "axes"], ["grey"], keepdims=1),
            helper.make_node("Add", ["grey", "least"], ["depth"]),
        ],
        "antialiased",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 240, 320])],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, 15, 20])],
        [
            helper.make_tensor("size", TensorProto.INT64, [4], [1, 3, 15, 20]),
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
            helper.make_tensor("least", TensorProto.FLOAT, [], [0.05]),
        ],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_runtimes_that_differ_are_told_apart_and_the_exact_one_serves(tmp_path, capsys):
    size = {"rule": "fixed", "target": [240, 320]}
    description = run(tmp_path, antialiased(tmp_path / "net.onnx"), *described(tmp_path, size=size))
    assert description.runtime == "onnxruntime"
    assert "OpenVINO returns something else" in capsys.readouterr().out


def test_a_reference_that_agrees_is_told_and_one_that_does_not_is_refused(tmp_path, capsys):
    network = write_network(tmp_path / "net.onnx")
    keys = described(tmp_path, size=SMALL, output={"quantity": "depth"})
    one = RunningNetwork(network, parse_description({"format": "depth-network/1", "size": SMALL}))
    [output] = one.run(one.steps.prepare(drawn_image(480, 640))[None])
    steps = DescribedNetwork(
        parse_description({"format": "depth-network/1", "size": SMALL, "output": {"quantity": "depth"}})
    )
    depth = 1 / steps.read(output, (480, 640), 480, 640).disparity
    np.save(tmp_path / "right.npy", depth)
    np.save(tmp_path / "wrong.npy", depth * 1.1)
    run(tmp_path, network, *keys, "--check", str(tmp_path / "right.npy"))
    assert "off the reference on average" in capsys.readouterr().out
    (tmp_path / "models" / "net.depth.json").unlink()
    with pytest.raises(SystemExit, match="expected 1% at most"):
        run(tmp_path, network, *keys, "--check", str(tmp_path / "wrong.npy"))
    assert not (tmp_path / "models" / "net.depth.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "expected --preset, --hugging-face or --description"),
        (["--preset", "depth-anything"], "did you mean 'depth-anything-v"),
        (["--preset", "moge-2"], "no such solver"),
        (["--preset", "depth-pro"], "no tensor 'field_of_view'"),
        (["--preset", "midas-small", "--size", "5"], "--size is '5'; expected HEIGHTxWIDTH"),
        (["--hugging-face", "nowhere"], "preprocessor_config.json cannot be read"),
    ],
)
def test_what_cannot_be_imported_is_an_error_in_words_and_nothing_is_written(tmp_path, options, said):
    network = write_network(tmp_path / "net.onnx")
    with pytest.raises(SystemExit, match=said):
        main([str(network), "--output", str(tmp_path / "models"), *options])
    assert not (tmp_path / "models").exists()


def test_the_command_draws_the_picture_that_a_reference_is_made_of(tmp_path):
    path = tmp_path / "drawn.png"
    subprocess.run(
        [sys.executable, "-m", "model.described.importing", "--draw", str(path)], check=True, timeout=100
    )
    import cv2

    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], drawn_image(480, 640))
