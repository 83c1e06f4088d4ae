from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.training.worlds import FOCAL, HEIGHT, INTRINSICS, STEP_M, WALL_M, WIDTH, WallWorld, sideways
from training.data.sequence import View
from training.data.synthetic import SyntheticConfig, SyntheticDataset
from training.hints.rectified import RectifiedConfig, is_beside, match_beside

LARGE = RectifiedConfig(nearest_m=FOCAL * STEP_M / 16, block_px=5, least_patch=10 / (HEIGHT * WIDTH))


@pytest.fixture(scope="module")
def street():
    return SyntheticDataset(SyntheticConfig(sequences=1, frames=1, height=96, width=320, seed=5))[0]


def seen_from(pose: np.ndarray | None) -> View:
    return View(image=np.zeros((HEIGHT, WIDTH, 3), np.uint8), source_T_target=pose, role="stereo")


@pytest.mark.parametrize("side", [0, 1])
def test_the_wall_is_where_it_is_whichever_side_the_other_camera_is_on(side):
    sample = WallWorld()[0]
    depth_m = match_beside(sample.image, sample.sources[side], sample.intrinsics, LARGE)
    known = depth_m[4:-4, 20:-20] > 0
    assert known.mean() > 0.9
    assert np.median(np.abs(depth_m[4:-4, 20:-20][known] - WALL_M)) < 0.1


@pytest.mark.parametrize("side", [0, 1])
def test_a_pair_that_is_rectified_amiss_gives_right_depth_once_it_is_told_by_how_much(side):
    sample = WallWorld()[0]
    view = sample.sources[side]
    outwards = 1 if view.source_T_target[0, 3] < 0 else -1  # what is near seems less far to the side
    amiss = replace(view, image=np.roll(view.image, outwards, axis=1))
    errors = []
    for offset_px in (0.0, 1.0):
        told = replace(LARGE, offset_px=offset_px)
        depth_m = match_beside(sample.image, amiss, sample.intrinsics, told)[4:-4, 20:-20]
        errors.append(np.median(np.abs(depth_m[depth_m > 0] - WALL_M)))
    assert errors[1] < 0.1 < errors[0]


def test_a_street_s_pair_gives_its_depth(street):
    (view,) = [view for view in street.sources if view.role == "stereo"]
    hint_m = match_beside(street.image, view, street.intrinsics, RectifiedConfig())
    both = (hint_m > 0) & (street.depth_m > 0)
    error = np.abs(hint_m[both] - street.depth_m[both]) / street.depth_m[both]
    assert both.mean() > 0.6
    assert np.median(error) < 0.05
    assert hint_m.max() <= 80


@pytest.mark.parametrize(("apart_px", "bounds"), [(None, (0.9, 0.85, 0.8)), (1.0, (0.85, 0.75, 0.75))])
def test_hints_beside_outlines_are_of_what_is_there(street, apart_px, bounds):
    """A matcher that prefers smooth surfaces carries the near one over its outline."""
    (view,) = [view for view in street.sources if view.role == "stereo"]
    truth_m = street.depth_m
    known = truth_m > 0
    far_m = cv2.dilate(truth_m, np.ones((7, 7)))
    near_m = cv2.erode(np.where(known, truth_m, 1e3), np.ones((7, 7)))
    too_near, covers = [], []
    undoubted, usual, strict = {"outline_px": 0}, {}, {"outline_ratio": 2.0}
    for settings in (undoubted, usual, strict):
        config = RectifiedConfig(apart_px=apart_px, **settings)
        hint_m = match_beside(street.image, view, street.intrinsics, config)
        beside = known & (hint_m > 0) & (far_m > 1.3 * near_m)
        too_near.append((hint_m[beside] < 0.85 * truth_m[beside]).mean())
        covers.append((hint_m[known] > 0).mean())
    usually, strictly, cover = bounds
    assert too_near[1] < usually * too_near[0]
    assert too_near[2] < strictly * too_near[0]
    assert covers[1] > 0.8 * covers[0]
    assert covers[2] > cover * covers[0]


def test_what_only_one_camera_sees_is_seldom_a_hint(street):
    """Something explains it there too, mostly at the depth of what hides it."""
    (view,) = [view for view in street.sources if view.role == "stereo"]
    known = street.depth_m > 0
    disparity = np.where(known, 0.54 * street.intrinsics[0, 0] / np.where(known, street.depth_m, 1), 0)
    met = np.arange(street.image.shape[1]) - disparity
    farthest_left = np.minimum.accumulate(met[:, ::-1], axis=1)[:, ::-1]
    outside = known & (met < 0)
    hidden = known & ~outside & (farthest_left < met - 1)
    both = known & ~outside & ~hidden
    assert min(hidden.sum(), outside.sum()) > 500
    of_one, of_both = (
        match_beside(street.image, view, street.intrinsics, RectifiedConfig(apart_px=apart_px)) > 0
        for apart_px in (None, 1.0)
    )
    assert of_both[hidden].mean() < 0.65 * of_one[hidden].mean()
    assert of_both[outside].mean() < 0.01 < 0.3 < of_one[outside].mean()
    assert of_both[both].mean() > 0.9 * of_one[both].mean()


def test_patches_that_are_too_small_for_a_surface_are_no_hints(street):
    (view,) = [view for view in street.sources if view.role == "stereo"]
    covers = []
    for share in (0.0, 0.95):
        config = RectifiedConfig(least_patch=share, outline_px=0, apart_px=None)
        covers.append((match_beside(street.image, view, street.intrinsics, config) > 0).mean())
    assert covers[0] > 0.9
    assert covers[1] == 0


def test_a_pixel_of_many_depths_is_no_hint():
    plain = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    view = View(image=plain, source_T_target=sideways(STEP_M), role="stereo")
    assert not match_beside(plain, view, INTRINSICS, LARGE).any()


def test_a_camera_ahead_above_turned_or_nowhere_is_not_beside():
    assert is_beside(seen_from(sideways(STEP_M)))
    assert is_beside(seen_from(sideways(-STEP_M)))
    turned = sideways(STEP_M)
    turned[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    above, ahead = sideways(STEP_M), sideways(STEP_M)
    above[1, 3] = ahead[2, 3] = 0.1 * STEP_M
    for pose in (turned, above, ahead, np.eye(4, dtype=np.float32), None):
        assert not is_beside(seen_from(pose))
        with pytest.raises(ValueError, match="expected one from straight beside"):
            match_beside(np.zeros((HEIGHT, WIDTH, 3), np.uint8), seen_from(pose), INTRINSICS, LARGE)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"nearest_m": 0.0}, "nearest_m is 0.0"),
        ({"farthest_m": 1.0}, "farthest_m 1.0"),
        ({"block_px": 4}, "block_px is 4"),
        ({"least_patch": 60}, "least_patch is 60"),
        ({"apart_px": -0.5}, "apart_px is -0.5"),
        ({"outline_px": -1}, "outline_px is -1"),
        ({"offset_px": float("nan")}, "offset_px is nan"),
        ({"outline_ratio": 0.5}, "outline_ratio 0.5"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, said):
    with pytest.raises(ValueError, match=said):
        RectifiedConfig(**settings)
