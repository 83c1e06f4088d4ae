import cv2
import numpy as np
import pytest
from PIL import Image

from model.described.resampling import resample, resize_map
from model.drawing import drawn_image

SIZES = [(40, 90), (150, 70), (200, 300)]
PICTURE = drawn_image(97, 131)


def as_torch(values, height, width, **how):
    torch = pytest.importorskip("torch")
    planes = torch.from_numpy(np.ascontiguousarray(values)).float().reshape(*values.shape[:2], -1)
    resized = torch.nn.functional.interpolate(planes.permute(2, 0, 1)[None], (height, width), **how)
    return resized[0].permute(1, 2, 0).numpy().squeeze()


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(
    ("kernel", "flag"), [("linear", "LINEAR"), ("cubic-opencv", "CUBIC"), ("area", "AREA")]
)
def test_opencv_s_kernels_are_opencv_s_on_floats(kernel, flag, height, width):
    floats = PICTURE.astype(np.float32)
    expected = cv2.resize(floats, (width, height), interpolation=getattr(cv2, f"INTER_{flag}"))
    np.testing.assert_array_equal(resample(PICTURE, height, width, kernel), expected)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("kernel", "name"), [("cubic-pil", "BICUBIC"), ("lanczos", "LANCZOS")])
def test_pillow_s_kernels_are_pillow_s_on_whole_numbers(kernel, name, height, width):
    expected = Image.fromarray(PICTURE).resize((width, height), getattr(Image.Resampling, name))
    np.testing.assert_array_equal(resample(PICTURE, height, width, kernel), np.asarray(expected))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_linear_with_corners_aligned_is_torch_s(height, width):
    expected = as_torch(PICTURE, height, width, mode="bilinear", align_corners=True)
    np.testing.assert_allclose(resample(PICTURE, height, width, "linear-aligned"), expected, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_antialiased_linear_averages_over_what_it_shrinks(height, width):
    expected = as_torch(PICTURE, height, width, mode="bilinear", antialias=True)
    found = resample(PICTURE, height, width, "linear", antialias=True)
    assert np.abs(found - expected).max() <= 1.0  # whole numbers


def test_the_two_cubics_differ_by_grey_levels():
    half = (48, 65)
    opencv, pillow = (resample(PICTURE, *half, kernel) for kernel in ("cubic-opencv", "cubic-pil"))
    assert np.abs(opencv - pillow).mean() > 3


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(
    ("how", "aligned", "mode"),
    [("linear", False, "bilinear"), ("linear", True, "bilinear"), ("cubic", False, "bicubic")],
)
def test_maps_come_back_as_torch_brings_them_back(how, aligned, mode, height, width):
    values = np.random.default_rng(0).random((33, 57), np.float32)
    expected = as_torch(values, height, width, mode=mode, align_corners=aligned)
    found = resize_map(values, height, width, how, align_corners=aligned)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_step_of_depth_overshoots_where_it_is_brought_back_by_cubic():
    step = np.zeros((4, 8), np.float32)
    step[:, 4:] = 80
    assert resize_map(step, 40, 80, "cubic", align_corners=False).min() < -8
    assert resize_map(step, 40, 80, "linear", align_corners=False).min() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_a_single_row_or_column_is_repeated(shape):
    assert (
        resize_map(np.ones(shape, np.float32), 4, 3, "linear", align_corners=True).tolist() == [[1] * 3] * 4
    )
