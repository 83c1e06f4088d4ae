import math

import cv2
import numpy as np
import pytest

from model.described import DescribedNetwork, DescriptionError, parse_description
from model.drawing import drawn_image
from model.metadata import DepthScale
from model.view import Lens

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def network(preset="", **keys):
    return DescribedNetwork(parse_description({"format": "depth-network/1", "preset": preset, **keys}))


def fixed(**output):
    return network(size={"rule": "fixed", "target": [4, 6]}, output=output)


def read(one, values, height=4, width=6, lens=None, **sides):
    outputs = {"depth": np.asarray(values, np.float32), **sides}
    return one.read(outputs, (height, width), height, width, lens)


def test_depth_anything_s_input_is_what_its_authors_make_of_a_picture():
    picture = drawn_image(240, 320)
    resized = cv2.resize(picture / 255.0, (686, 518), interpolation=cv2.INTER_CUBIC)
    expected = ((resized - MEAN) / STD).transpose(2, 0, 1)
    prepared = network("depth-anything-v2").prepare(picture)
    np.testing.assert_allclose(prepared, expected, atol=1e-4)


def test_metric3d_s_input_is_raw_with_the_mean_colour_around():
    picture = drawn_image(375, 1242)
    prepared = network("metric3d-v2").prepare(picture)
    assert prepared.shape == (3, 616, 1064)
    top = (616 - 321) // 2
    np.testing.assert_allclose(prepared[:, top - 1, 5], [123.675, 116.28, 103.53])
    inside = cv2.resize(picture.astype(np.float32), (1064, 321))
    np.testing.assert_allclose(prepared[:, top : top + 321].transpose(1, 2, 0), inside, atol=1e-2)


def test_the_depth_anything_3_pipeline_resizes_twice_on_whole_numbers():
    picture = drawn_image(1080, 1920)
    once = cv2.resize(picture, (504, 284), interpolation=cv2.INTER_AREA)
    twice = cv2.resize(once, (504, 280), interpolation=cv2.INTER_AREA)
    expected = ((twice / 255 - MEAN) / STD).transpose(2, 0, 1)
    prepared = network("depth-anything-3-mono").prepare(picture)
    assert np.abs(prepared - expected).max() < 1.1 / 255 / 0.224


def test_layout_colour_and_range_are_the_description_s():
    picture = drawn_image(4, 6)
    one = network(
        input={"layout": "nhwc", "colour": "bgr", "range": 255}, size={"rule": "fixed", "target": [4, 6]}
    )
    np.testing.assert_allclose(one.prepare(picture), picture[..., ::-1], atol=1e-4)


def test_a_disparity_of_zero_or_less_is_infinitely_far():
    values = np.ones((4, 6))
    values[0, 0], values[1, 1] = 0.0, -0.5
    disparity = read(fixed(unit="affine"), values).disparity
    assert (disparity[0, 0], disparity[1, 1]) == (0, 0)
    assert (disparity > 0).sum() == 22


def test_a_depth_of_zero_or_less_is_no_depth():
    values = np.full((4, 6), 2.0)
    values[0, 0], values[1, 1] = 0.0, -0.5
    disparity = read(fixed(quantity="depth"), values).disparity
    assert np.isfinite(disparity).sum() == 22
    np.testing.assert_allclose(disparity[2], 0.5)


def test_nan_of_a_network_is_an_error():
    with pytest.raises(ValueError, match="NaN or infinity"):
        read(fixed(), np.full((4, 6), np.nan))


def test_each_quantity_becomes_disparity_by_its_formula():
    values = np.full((4, 6), 0.25)
    assert read(fixed(quantity="log-depth"), values).disparity[0, 0] == pytest.approx(math.exp(-0.25))
    sigmoid = fixed(quantity="sigmoid", min_depth=0.1, max_depth=100.0)
    assert read(sigmoid, values).disparity[0, 0] == pytest.approx(0.01 + 0.25 * 9.99)
    doubled = fixed(quantity="depth", unit="metre", factor=2.0)
    assert read(doubled, values).disparity[0, 0] == pytest.approx(2.0)


@pytest.mark.parametrize("unit", ["metre", "relative", "affine"])
def test_the_unit_is_the_description_s(unit):
    scale = read(fixed(unit=unit), np.ones((4, 6))).scale
    assert scale.unit == ("metre" if unit == "metre" else "relative")
    assert scale.affine == (unit == "affine")


def test_times_over_takes_the_focal_length_of_the_picture_as_the_network_sees_it():
    one = network("depth-anything-3-metric", sky=None)
    lens = Lens(fx_px=1000.0, fy_px=1000.0)
    reading = read(one, np.ones((280, 504)), 1080, 1920, lens)
    focal_px = (1000 * 504 / 1920 + 1000 * 280 / 1080) / 2
    np.testing.assert_allclose(1 / reading.disparity, focal_px / 300, rtol=1e-5)
    assert reading.scale == DepthScale(unit="metre", metres_per_unit=1.0, fy_per_height=1000 / 1080)


def test_metric3d_scales_before_it_clamps():
    one = network("metric3d-v2")
    near = read(one, np.full((616, 1064), 30.0), 375, 1242, Lens(fx_px=721.5, fy_px=721.5))
    assert 1 / near.disparity[0, 0] == pytest.approx(30 * 721.5 * 1064 / 1242 / 1000, rel=2e-3)
    far = read(one, np.full((616, 1064), 3e3), 375, 1242, Lens(fx_px=721.5, fy_px=721.5))
    np.testing.assert_allclose(1 / far.disparity, 300, rtol=1e-5)


def test_without_a_lens_a_network_that_needs_one_is_relative_and_says_so():
    reading = read(network("depth-anything-3-metric", sky=None), np.ones((280, 504)), 1080, 1920)
    assert reading.scale == DepthScale()
    assert "need a lens" in reading.notice


def test_depth_pro_takes_its_own_field_of_view_where_nobody_knows_the_lens():
    one, values = network("depth-pro"), np.full((1536, 1536), 0.5)
    own = read(one, values, 480, 640, field_of_view=np.float32(60))
    f_px = 0.5 * 640 / math.tan(math.radians(30))
    np.testing.assert_allclose(own.disparity, 0.5 * 640 / f_px, rtol=1e-5)
    assert own.scale.unit == "metre"
    assert own.scale.fy_per_height is None
    known = read(one, values, 480, 640, Lens(fx_px=500, fy_px=500), field_of_view=np.float32(60))
    np.testing.assert_allclose(known.disparity, 0.5 * 640 / 500, rtol=1e-5)


def test_sky_is_as_far_as_the_farthest_of_the_rest_or_infinitely_far():
    sky = np.zeros((4, 6), np.float32)
    sky[0] = 0.9
    values = np.linspace(1, 5, 24).reshape(4, 6)
    said = {"tensor": "sky", "threshold": 0.3, "sense": "above"}
    size, output = {"rule": "fixed", "target": [4, 6]}, {"quantity": "depth"}
    filled = read(network(size=size, output=output, sky={**said, "fill": "farthest"}), values, sky=sky)
    np.testing.assert_allclose(1 / filled.disparity[0], np.percentile(values[1:], 99), rtol=1e-2)
    bare = read(network(size=size, output=output, sky=said), values, sky=sky)
    assert (bare.disparity[0] == 0).all()
    assert (bare.disparity[1:] > 0).all()


def test_pixels_outside_a_mask_or_below_a_confidence_have_no_depth():
    size, values = {"rule": "fixed", "target": [4, 6]}, np.ones((4, 6))
    worth = np.zeros((4, 6), np.float32)
    worth[2] = 1.0
    for key in ("mask", "confidence"):
        one = network(size=size, **{key: {"tensor": "worth", "threshold": 0.5}})
        assert np.isnan(read(one, values, worth=worth).disparity).sum() == 18
    error = network(size=size, confidence={"tensor": "worth", "threshold": 0.5, "sense": "below"})
    assert np.isnan(read(error, values, worth=worth).disparity).sum() == 6


def test_what_was_padded_is_cut_off_again():
    one = network("metric3d-v2", focal={"rule": "none"})
    values = np.full((616, 1064), 99.0)
    top = (616 - 321) // 2
    values[top : top + 321] = 7.0
    np.testing.assert_allclose(1 / read(one, values, 375, 1242).disparity, 7.0, rtol=1e-5)


@pytest.mark.parametrize(
    "preset", ["zoedepth", "metric3d-v2", "depth-anything-v2", "midas-small", "depth-pro"]
)
def test_a_ramp_across_the_picture_comes_back_in_its_place(preset):
    """What the network sees at the picture's left and right comes back at the map's left and right."""
    one = network(preset, focal={"rule": "none"})
    ramp = np.linspace(60, 200, 320, dtype=np.float32)
    picture = np.repeat(np.broadcast_to(ramp, (240, 320))[..., None], 3, axis=2).astype(np.uint8)
    seen = network(preset, focal={"rule": "none"}, input={"mean": [0, 0, 0], "std": [1, 1, 1], "range": 255})
    values = seen.prepare(picture)[0]
    said = one.description.output
    back = read(one, values, 240, 320).disparity
    depth = 1 / back if said.quantity == "depth" else back
    np.testing.assert_allclose(depth[120, 10:-10], ramp[10:-10], atol=1.5)


def test_a_description_that_refuses_usual_photographs_is_refused_itself():
    with pytest.raises(DescriptionError, match=r"usual size: a picture of 640x480.*size\.max_pixels"):
        network(size={"rule": "native", "max_pixels": 1000})
