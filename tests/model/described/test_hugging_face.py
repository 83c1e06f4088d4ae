"""Folders of transformers, held to transformers' own processors."""

import json

import numpy as np
import pytest

from model.described import DescribedNetwork, DescriptionError, Frame, parse_description
from model.described.hugging_face import read_hugging_face
from model.drawing import drawn_image

transformers = pytest.importorskip("transformers", reason="needs transformers, of the extra `dev`")
torch = pytest.importorskip("torch")

SHAPES = [(375, 1242), (108, 192), (240, 320), (777, 333), (500, 500)]
SMALL = {"height": 98, "width": 98}
FOLDERS = {
    "depth-anything": (
        "DPTImageProcessor",
        {"size": SMALL, "ensure_multiple_of": 14, "keep_aspect_ratio": True, "resample": 3},
        {"model_type": "depth_anything"},
    ),
    "depth-anything-metric": (
        "DPTImageProcessor",
        {"size": SMALL, "ensure_multiple_of": 14, "keep_aspect_ratio": True, "resample": 3},
        {"model_type": "depth_anything", "depth_estimation_type": "metric", "max_depth": 20},
    ),
    "dpt": ("DPTImageProcessor", {"size": {"height": 96, "width": 96}}, {"model_type": "dpt"}),
    "zoedepth": (
        "ZoeDepthImageProcessor",
        {"size": {"height": 96, "width": 128}, "ensure_multiple_of": 32},
        {"model_type": "zoedepth"},
    ),
    "depth-pro": (
        "DepthProImageProcessor",
        {"size": {"height": 128, "width": 128}},
        {"model_type": "depth_pro"},
    ),
    "glpn": ("GLPNImageProcessor", {}, {"model_type": "glpn"}),
}
OUTPUTS = {
    "depth-anything": ("disparity", "affine"),
    "depth-anything-metric": ("depth", "metre"),
    "dpt": ("disparity", "affine"),
    "zoedepth": ("depth", "metre"),
    "depth-pro": ("disparity", "metre"),
    "glpn": ("depth", "metre"),
}


def write_folder(folder, name):
    """Write both files as transformers writes them; return its processor."""
    kind, said, config = FOLDERS[name]
    processor = getattr(transformers, kind)(**said)
    processor.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    return processor


def described(folder, **changes):
    return parse_description({"format": "depth-network/1", **read_hugging_face(folder), **changes})


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[1]}x{shape[0]}")
@pytest.mark.parametrize("name", FOLDERS)
def test_pictures_reach_the_network_as_transformers_prepares_them(tmp_path, name, shape):
    processor = write_folder(tmp_path, name)
    picture = drawn_image(*shape)
    expected = processor(picture, return_tensors="np")["pixel_values"][0]
    prepared = DescribedNetwork(described(tmp_path)).prepare(picture)
    assert prepared.shape == expected.shape
    step = 1 / 255 / min(described(tmp_path).input.std)
    # Torch's and Pillow's kernels on whole numbers round a few pixels otherwise.
    assert np.abs(prepared - expected).mean() < 0.2 * step
    assert np.abs(prepared - expected).max() < 2.1 * step


@pytest.mark.parametrize("name", FOLDERS)
def test_depth_comes_back_as_transformers_brings_it_back(tmp_path, name):
    processor = write_folder(tmp_path, name)
    network = DescribedNetwork(described(tmp_path))
    said = network.description.output
    height, width = 240, 320
    frame = network.frame(height, width)
    values = 1 + np.random.default_rng(0).random(frame.input, np.float32)
    outputs = {"predicted_depth": values}
    estimated = transformers.modeling_outputs.DepthEstimatorOutput(
        predicted_depth=torch.from_numpy(values)[None]
    )
    arguments = {"target_sizes": [(height, width)]}
    if name == "zoedepth":
        arguments["source_sizes"] = [(height, width)]
    if name == "depth-pro":
        outputs["field_of_view"] = np.float32(60.0)
        estimated.field_of_view = torch.tensor([60.0])
    [expected] = processor.post_process_depth_estimation(estimated, **arguments)
    expected = expected["predicted_depth"].squeeze().numpy()
    disparity = network.read(outputs, (height, width), height, width).disparity
    found = disparity if said.quantity == "disparity" and name != "depth-pro" else 1 / disparity
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("name", FOLDERS)
def test_quantity_and_unit_are_those_of_the_configuration(tmp_path, name):
    write_folder(tmp_path, name)
    said = described(tmp_path).output
    assert (said.quantity, said.unit) == OUTPUTS[name]


def test_a_processor_that_is_not_known_is_named_with_those_that_are(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "CLIPImageProcessor"}')
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DescriptionError, match="'CLIPImageProcessor'; expected that of DPT, ZoeDepth"):
        read_hugging_face(tmp_path)


def test_a_folder_without_the_files_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(DescriptionError, match=r"preprocessor_config\.json cannot be read"):
        read_hugging_face(tmp_path)


def test_the_frame_of_a_folder_is_the_frame_of_its_rule(tmp_path):
    write_folder(tmp_path, "dpt")
    assert DescribedNetwork(described(tmp_path)).frame(240, 320) == Frame(
        picture=(240, 320), content=(96, 96), input=(96, 96)
    )
