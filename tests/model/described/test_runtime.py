import pickle

import numpy as np
import pytest

from model.described import parse_description
from model.described.runtime import NetworkFileError, RunningNetwork
from model.golden import GoldenError
from tests.model.described.standins import write_network

RUNTIMES = ("onnxruntime", "openvino")


def described(**keys):
    return parse_description({"format": "depth-network/1", "size": {"target": [32, 64]}, **keys})


def running(path, runtime="onnxruntime", **keys):
    return RunningNetwork(path, described(**keys), runtime=runtime, threads=1)


@pytest.fixture
def batch():
    return np.random.default_rng(1).random((3, 3, 32, 64), np.float32)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_batch_has_the_outputs_of_its_pictures_one_by_one(tmp_path, batch, runtime):
    network = running(write_network(tmp_path / "n.onnx"), runtime)
    whole = network.run(batch)
    assert whole[0]["predicted_depth"].shape == (16, 32)
    for index, one in enumerate(whole):
        [alone] = network.run(batch[index : index + 1])
        np.testing.assert_allclose(one["predicted_depth"], alone["predicted_depth"], rtol=1e-4)


def test_both_runtimes_return_the_same(tmp_path, batch):
    path = write_network(tmp_path / "n.onnx", sides=("sky",), field_of_view=60.0)
    keys = {"sky": {"tensor": "sky", "threshold": 0.3}}
    found = [running(path, runtime, **keys).run(batch) for runtime in RUNTIMES]
    for one, other in zip(*found, strict=True):
        assert set(one) == {"predicted_depth", "sky"}
        for name, values in one.items():
            np.testing.assert_allclose(values, other[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("fixed", [1, 2])
def test_a_file_of_one_batch_size_takes_any_number_of_pictures(tmp_path, batch, runtime, fixed):
    whole = running(write_network(tmp_path / "n.onnx"), runtime).run(batch)
    parts = running(write_network(tmp_path / "f.onnx", batch=fixed), runtime).run(batch)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one["predicted_depth"], other["predicted_depth"], rtol=1e-4)


def test_a_flip_averages_both_ways(tmp_path, batch):
    path = write_network(tmp_path / "n.onnx")
    plain, flipped = running(path), running(path, input={"flip": True})
    [one], [other] = plain.run(batch[:1]), plain.run(np.ascontiguousarray(batch[:1, ..., ::-1]))
    expected = (one["predicted_depth"] + other["predicted_depth"][:, ::-1]) / 2
    np.testing.assert_allclose(flipped.run(batch[:1])[0]["predicted_depth"], expected, rtol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_golden_answer_tells_one_network_from_another(tmp_path, runtime):
    golden = running(write_network(tmp_path / "n.onnx")).golden_answer()
    said = {"height": golden.height, "width": golden.width, "values": golden.values}
    running(tmp_path / "n.onnx", runtime, golden=said).check_golden()
    other = running(write_network(tmp_path / "o.onnx", seed=1), runtime, golden=said)
    with pytest.raises(GoldenError, match="off the plain network's"):
        other.check_golden()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"output": {"tensor": "deph"}}, "no tensor 'deph', which output.tensor names; expected one of p"),
        ({"sky": {"tensor": "sky"}}, "no tensor 'sky', which sky.tensor names"),
        ({"input": {"tensor": "image"}}, "no tensor 'image', which input.tensor names"),
        ({"input": {"layout": "nhwc"}}, "expected three channels"),
        ({"input": {"extra": [{"tensor": "k", "value": 1}]}}, "no tensor 'k', which input.extra names"),
    ],
)
def test_a_file_that_is_not_as_described_is_an_error_that_says_where(tmp_path, keys, said):
    path = write_network(tmp_path / "n.onnx", size=(32, 64))
    with pytest.raises(NetworkFileError, match=said):
        running(path, **keys)


def test_a_file_of_one_size_under_a_rule_of_many_is_an_error_that_says_what_to_write(tmp_path):
    path = write_network(tmp_path / "n.onnx", size=(48, 64))
    with pytest.raises(NetworkFileError, match=r'"rule": "fixed", "target": \[48, 64\]'):
        running(path, preset="depth-anything-v2")


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("content", [b"", b"not a graph", pickle.dumps({"a": 1})])
def test_a_file_that_is_no_network_is_an_error_that_names_it(tmp_path, runtime, content):
    path = tmp_path / "n.onnx"
    path.write_bytes(content)
    with pytest.raises(NetworkFileError, match=r"n\.onnx"):
        running(path, runtime)
