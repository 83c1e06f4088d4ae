import subprocess
import sys

import numpy as np
import pytest

from model.images import check_image, disparity_to_depth_map, resize_image, to_model_batch


def plain(height, width, colour=(10, 20, 30)):
    return np.full((height, width, 3), colour, np.uint8)


@pytest.mark.parametrize("size", [(192, 640), (37, 500), (400, 41), (1, 1), (800, 900)])
def test_resizing_keeps_a_plain_colour_whatever_the_direction(size):
    assert (resize_image(plain(300, 400), *size) == plain(*size)).all()


def test_halving_an_image_averages_each_two_by_two_block():
    image = plain(4, 6, (0, 0, 0))
    image[::2, ::2] = 200
    assert (resize_image(image, 2, 3) == 50).all()


def test_shrinking_one_axis_while_the_other_grows_averages_the_first_and_interpolates_the_second():
    columns = np.repeat(np.array([0, 100], np.uint8)[None, :, None], 3, axis=2)  # one row: 0, 100
    image = np.concatenate([columns, columns + 100])  # the second row: 100, 200
    resized = resize_image(image, 1, 4)
    assert resized[0, :, 0].tolist() == [50, 75, 125, 150]


def test_an_image_of_the_right_size_is_returned_itself():
    image = plain(32, 64)
    assert resize_image(image, 32, 64) is image


def test_a_batch_of_images_of_different_sizes_has_one_size_channels_first_and_values_up_to_one():
    batch = to_model_batch([plain(50, 60, (255, 0, 51)), plain(32, 64, (0, 255, 102))], 32, 64)
    assert batch.shape == (2, 3, 32, 64)
    assert batch.dtype == np.float32
    assert np.allclose(batch[:, :, 0, 0], [[1.0, 0.0, 0.2], [0.0, 1.0, 0.4]])
    assert (batch == batch[:, :, :1, :1]).all()


def test_an_image_that_is_a_view_with_negative_strides_gives_the_same_batch_as_its_copy():
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)[::-1, :, ::-1]
    assert (to_model_batch([image], 32, 64) == to_model_batch([image.copy()], 32, 64)).all()


@pytest.mark.parametrize(
    ("image", "named"),
    [
        ("path.png", "str"),
        (np.zeros((4, 5, 3), np.float32), "float32"),
        (np.zeros((4, 5), np.uint8), r"\(4, 5\)"),
        (np.zeros((4, 5, 4), np.uint8), r"\(4, 5, 4\)"),
        (np.zeros((0, 5, 3), np.uint8), r"\(0, 5, 3\)"),
    ],
)
def test_what_is_not_an_rgb_image_is_refused_by_a_message_that_names_it(image, named):
    with pytest.raises(ValueError, match=named):
        check_image(image)


def test_depth_is_the_scale_over_disparity():
    depth = disparity_to_depth_map(np.array([[0.5, 0.25]], np.float32), 1, 2, scale=3.0)
    assert depth.tolist() == [[6.0, 12.0]]
    assert depth.dtype == np.float32


def test_the_resize_to_the_callers_size_interpolates_disparity_and_not_depth():
    depth = disparity_to_depth_map(np.array([[1.0, 0.2]], np.float32), 1, 4)
    # Pixel centres at 0.25, 0.75, 1.25, 1.75 of two: disparities 1, 0.8, 0.4, 0.2.
    assert np.allclose(depth, [[1.0, 1.25, 2.5, 5.0]])


def test_the_disparity_given_is_left_as_it_was():
    disparity = np.array([[0.5, 0.25]], np.float32)
    disparity_to_depth_map(disparity, 1, 2)
    disparity_to_depth_map(disparity, 3, 5)
    assert disparity.tolist() == [[0.5, 0.25]]


@pytest.mark.parametrize("hole", [0.0, -0.1, np.nan, np.inf])
def test_what_is_infinitely_far_or_no_number_has_no_depth_and_no_curtain_hangs_before_it(hole):
    disparity = np.full((6, 8), 0.5, np.float32)
    disparity[:3] = hole
    for height, width in ((6, 8), (17, 40), (3, 4), (2, 8)):
        depth = disparity_to_depth_map(disparity, height, width)
        rows = (np.arange(height) + 0.5) / height
        assert np.isnan(depth[rows < 0.45]).all()
        assert (depth[rows > 0.55] == 2.0).all()
        assert set(np.unique(depth[np.isfinite(depth)])) == {2.0}


def test_a_map_without_any_thing_in_it_has_no_depth():
    assert np.isnan(disparity_to_depth_map(np.zeros((2, 2), np.float32), 4, 4)).all()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, -1])
def test_a_map_without_a_positive_number_has_no_depth(broken):
    for size in (2, 4):
        assert np.isnan(disparity_to_depth_map(np.full((2, 2), broken, np.float32), size, size)).all()


def test_importing_it_does_not_import_torch():
    code = "import sys, model.images; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
