from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.training.data.fabricated import pattern
from training.data.augment import (
    Augmentation,
    AugmentConfig,
    ColourJitter,
    Crop,
    Shade,
    draw,
    framing,
    resize_depth,
)

INTRINSICS = np.array([[20, 0, 10], [0, 30, 7], [0, 0, 1]], np.float32)
SAME_COLOURS = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


def framed(augmentation=None, *, rows=12, columns=32, height=12, width=32):
    return framing(augmentation or Augmentation(), rows=rows, columns=columns, height=height, width=width)


def project(intrinsics, point):
    x, y, z = intrinsics @ point
    return np.array([x / z, y / z])


def test_no_change_returns_everything_as_it_was():
    same = framed()
    assert np.array_equal(same.image(pattern(1)), pattern(1))
    assert np.array_equal(same.intrinsics(INTRINSICS), INTRINSICS)


def test_a_flip_mirrors_images_depth_and_principal_point():
    flip = framed(Augmentation(flip=True))
    assert np.array_equal(flip.image(pattern(1)), pattern(1)[:, ::-1])
    depth_m = np.arange(12 * 32, dtype=np.float32).reshape(12, 32)
    assert np.array_equal(flip.depth(depth_m), depth_m[:, ::-1])
    assert flip.intrinsics(INTRINSICS)[0].tolist() == [20, 0, 32 - 10]


def test_flipping_twice_changes_nothing():
    flip = framed(Augmentation(flip=True))
    pose = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    assert np.array_equal(flip.pose(flip.pose(pose)), pose)
    assert np.array_equal(flip.intrinsics(flip.intrinsics(INTRINSICS)), INTRINSICS)


def test_a_flip_keeps_projection_and_pose_consistent():
    # A point seen by two cameras must land, after the flip, at the mirrored pixels of both images.
    angle = 0.1
    source_T_target = np.eye(4, dtype=np.float32)
    source_T_target[:3, :3] = cv2.Rodrigues(np.array([0.05, angle, -0.02]))[0]
    source_T_target[:3, 3] = [-0.5, 0.1, 0.3]
    flip = framed(Augmentation(flip=True))
    point = np.array([1.0, -0.5, 6.0, 1.0])
    mirrored = point * [-1, 1, 1, 1]
    before = project(INTRINSICS, (source_T_target @ point)[:3])
    after = project(flip.intrinsics(INTRINSICS), (flip.pose(source_T_target) @ mirrored)[:3])
    assert after == pytest.approx([32 - before[0], before[1]], rel=1e-5)
    target = project(flip.intrinsics(INTRINSICS), mirrored[:3])
    assert target == pytest.approx(
        [32 - project(INTRINSICS, point[:3])[0], project(INTRINSICS, point[:3])[1]]
    )


def test_a_flipped_stereo_pair_has_its_baseline_on_the_other_side():
    right_T_left = np.eye(4, dtype=np.float32)
    right_T_left[0, 3] = -0.5
    assert framed(Augmentation(flip=True)).pose(right_T_left)[0, 3] == 0.5


def test_resizing_scales_the_intrinsics_exactly():
    half = framed(height=6, width=16)
    assert half.intrinsics(INTRINSICS).tolist() == [[10, 0, 5], [0, 15, 3.5], [0, 0, 1]]


def test_a_crop_shows_what_the_intrinsics_say():
    # The window: rows 3 to 9, columns 8 to 24; then twice as large.
    crop = framed(Augmentation(crop=Crop(top=0.25, left=0.25, side=0.5)))
    image = np.zeros((12, 32, 3), np.uint8)
    image[5, 20] = 255
    shown = crop.image(image)
    row, column = np.argwhere(shown[..., 0] == shown.max()).mean(axis=0)
    point = np.linalg.inv(INTRINSICS) @ [20.5, 5.5, 1]
    assert project(crop.intrinsics(INTRINSICS), point) == pytest.approx([column + 0.5, row + 0.5], abs=1e-5)


def test_drawn_crops_stay_inside_the_image_and_within_the_zoom():
    config = AugmentConfig(crop=1.0, max_zoom=1.5)
    for seed in range(200):
        change = framed(draw(config, np.random.default_rng(seed)), rows=120, columns=320)
        assert change.top_px >= 0 <= change.left_px
        assert change.top_px + change.rows_px <= 120
        assert change.left_px + change.columns_px <= 320
        assert 120 / 1.5 - 1 <= change.rows_px <= 120


def test_draws_come_with_the_probabilities_and_repeat_with_the_seed():
    config = AugmentConfig(flip=0.5, jitter=0.25, crop=1.0, shade=0.75)
    drawn = [draw(config, np.random.default_rng(seed)) for seed in range(1000)]
    assert 450 < sum(change.flip for change in drawn) < 550
    assert 200 < sum(change.jitter is not None for change in drawn) < 300
    assert all(change.crop is not None for change in drawn)
    assert 700 < sum(change.shade is not None for change in drawn) < 800
    assert drawn[17] == draw(config, np.random.default_rng(17))


@pytest.mark.parametrize("option", ["crop", "shade"])
def test_switching_one_option_does_not_shift_the_others(option):
    switched = draw(AugmentConfig(jitter=1.0, **{option: 1.0}), np.random.default_rng(5))
    without = draw(AugmentConfig(jitter=1.0), np.random.default_rng(5))
    assert getattr(without, option) is None
    assert replace(switched, **{option: None}) == without


def test_neutral_jitter_leaves_colours_nearly_alone():
    # Hue is kept in steps of two degrees, so a saturated colour may move by a few levels.
    image = cv2.GaussianBlur(pattern(1, 64, 64), (0, 0), 3)
    assert np.abs(ColourJitter(**SAME_COLOURS)(image).astype(int) - image).max() <= 4


def test_brightness_multiplies_and_contrast_spreads_about_the_mean():
    grey = np.array([[[100] * 3, [50] * 3]], np.uint8)
    assert ColourJitter(**{**SAME_COLOURS, "brightness": 1.2})(grey)[0, :, 0].tolist() == [120, 60]
    assert ColourJitter(**{**SAME_COLOURS, "contrast": 1.2})(grey)[0, :, 0].tolist() == [105, 45]


def test_hue_turns_red_towards_green_by_a_third_of_the_circle():
    red = np.array([[[200, 0, 0]]], np.uint8)
    assert ColourJitter(**{**SAME_COLOURS, "hue": 1 / 3})(red)[0, 0].tolist() == [0, 200, 0]


def test_no_saturation_leaves_grey():
    image = ColourJitter(**{**SAME_COLOURS, "saturation": 0.0})(pattern(1))
    assert np.array_equal(image[..., 0], image[..., 2])


def test_shade_halves_the_light_once_a_stop_and_leaves_the_rest_in_the_light():
    grey = np.full((30, 50, 3), 160, np.uint8)
    shaded = Shade(stops=((0, 0, 0, 0, 3), (0, 0, 0, 0, 3), (0, 0, 0, 0, 3)))(grey)
    assert (shaded[:, :35] == 160).all()
    assert (shaded[:, 45:] == 20).all()
    assert (np.diff(shaded[0, :, 0].astype(int)) <= 0).all()  # and no edge between


def test_drawn_shade_is_never_darker_than_asked_and_leaves_half_of_the_image_alone():
    config = AugmentConfig(shade=1.0, shade_stops=2.0)
    stops = np.array([draw(config, np.random.default_rng(seed)).shade.stops for seed in range(200)])
    assert 0 <= stops.min() <= stops.max() <= 2
    assert 0.45 < (stops == 0).mean() < 0.55


def test_sparse_depth_keeps_its_nearest_measurements():
    depth_m = np.zeros((4, 4), np.float32)
    depth_m[0, 0], depth_m[1, 1], depth_m[3, 2] = 9, 5, 7
    assert resize_depth(depth_m, 2, 2).tolist() == [[5, 0], [0, 7]]


def test_dense_depth_is_sampled_and_never_mixed():
    depth_m = np.where(np.arange(8) < 4, 5, 50).astype(np.float32)[None].repeat(4, axis=0)
    assert set(np.unique(resize_depth(depth_m, 3, 5))) == {5, 50}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip": 1.5}, "flip is 1.5"),
        ({"hue": 0.6}, "hue is 0.6"),
        ({"shade_stops": -1}, "shade_stops is -1"),
        ({"max_zoom": 0.5}, "max_zoom is 0.5"),
    ],
)
def test_impossible_settings_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**change)
