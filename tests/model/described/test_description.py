import dataclasses
import json

import pytest

from model.described import DescriptionError, parse_description, presets, read_description
from model.described.description import FORMAT, write_description
from model.drawing import golden_answer
from tests.model.described.standins import ones

ISSUE = {
    "depth-anything-v1", "depth-anything-v2", "depth-anything-v2-metric-indoor",
    "depth-anything-v2-metric-outdoor", "depth-anything-3-mono", "depth-anything-3-metric", "midas-dpt",
    "midas-small", "zoedepth", "metric3d-v2", "depth-pro", "moge-2", "monodepth2", "lite-mono",
}  # fmt: skip


def parse(**keys):
    return parse_description({"format": FORMAT, **keys})


def test_the_presets_are_those_of_the_published_networks():
    assert set(presets()) == ISSUE


@pytest.mark.parametrize("name", sorted(ISSUE - {"moge-2"}))
def test_a_preset_alone_is_a_whole_description(name):
    description = parse(preset=name, licence="MIT")
    assert description.preset == name
    assert description.licence == "MIT"


def test_moge_is_refused_by_the_name_of_what_it_lacks():
    with pytest.raises(DescriptionError, match="no such solver"):
        parse(preset="moge-2")


def test_a_key_that_is_stated_goes_before_the_preset_s_and_leaves_the_others():
    description = parse(preset="depth-anything-v2", size={"target": [252]}, output={"align_corners": False})
    assert description.size.target == (252,)
    assert description.size.multiple == 14
    assert not description.output.align_corners
    assert description.output.unit == "affine"


def test_what_a_network_lacks_is_null():
    assert parse(preset="depth-anything-3-mono", sky=None).sky is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"licens": "MIT"}, "no field 'licens'; did you mean 'licence'"),
        ({"size": {"multipel": 14, "target": [5]}}, "size has no field 'multipel'; did you mean 'multiple'"),
        ({"input": {"color": "bgr"}}, "input has no field 'color'; did you mean 'colour'"),
        ({"output": {"quantity": "depht"}}, "output.quantity must be one of 'depth', 'disparity'"),
        ({"preset": "depth-anythin-v2"}, "did you mean 'depth-anything-v2'"),
        ({"size": {"rule": "lower", "target": [518.5]}}, r"size.target\[0\] must be of type int, not 518.5"),
        ({"size": {"rule": "lower", "target": []}}, r"size.target is \[\]; expected 1 or 2"),
        ({"size": {"target": [0]}}, r"size.target is \[0\]"),
        ({"size": {"target": [9], "multiple": 0}}, "size.multiple is 0"),
        ({"input": {"std": [0, 1, 1]}}, "input.std"),
        ({"output": {"unit": "affine", "quantity": "depth"}}, "expected 'disparity'"),
        ({"output": {"quantity": "sigmoid"}}, "0 < min_depth < max_depth"),
        ({"output": {"clamp": [3, 2]}}, "output.clamp"),
        ({"focal": {"rule": "vertical"}}, "expected 'metre'"),
        ({"focal": {"rule": "vertical", "reference": -1}}, "focal.reference is -1"),
        ({"sky": {"threshold": 0.3}}, "sky.tensor is missing"),
        ({"golden": {"height": 1, "width": 1, "values": "?"}}, "golden"),
    ],
)
def test_a_wrong_key_is_an_error_that_says_which_and_what_was_expected(keys, said):
    with pytest.raises(DescriptionError, match=said):
        parse(**keys)


@pytest.mark.parametrize("value", [None, [], "x", {}, {"format": "depth-network/2"}, {"format": None}])
def test_what_is_no_description_is_an_error(value):
    with pytest.raises(DescriptionError, match=r"expected 'depth-network/1'|must be a JSON object"):
        parse_description(value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x80", '{"format": "depth-network/1", "x": NaN}'])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, text):
    path = tmp_path / "net.depth.json"
    path.write_text(text)
    with pytest.raises(DescriptionError, match=r"net\.depth\.json"):
        read_description(path)


def test_a_description_comes_back_with_its_golden_answer(tmp_path):
    path, golden = tmp_path / "net.depth.json", golden_answer(ones(4, 6))
    write_description(path, {"preset": "midas-small", "licence": "MIT"}, golden)
    read = read_description(path)
    assert read == dataclasses.replace(parse(preset="midas-small", licence="MIT"), golden=golden)
    assert json.loads(path.read_text())["format"] == FORMAT
