from itertools import pairwise

import cv2
import numpy as np
import pytest

from service.codec.scale import Scale
from service.codec.steadiness import SeenFrame, Steadier, View
from service.contract.basis import Basis
from service.contract.errors import InvalidArgument
from service.contract.pose import Pose, pose_of_list
from service.contract.request import Intrinsics

HEIGHT, WIDTH = 192, 640
STILL = Pose.of(np.eye(4))
LENS = Intrinsics(fx_px=400, fy_px=400, cx_px=320, cy_px=96)
METRES = Scale(factor=1.0, unit="metre", source="checkpoint", basis=Basis())


def picture(seed: int = 0, width: int = WIDTH) -> np.ndarray:
    """Something with details of every size."""
    random = np.random.default_rng(seed)
    layers = [
        cv2.resize(random.uniform(0, 255, (12 * k, width // 16 * k, 3)), (width, HEIGHT)) for k in (1, 2, 4)
    ]
    return np.mean(layers, axis=0).astype(np.uint8)


def disparities(count: int, flicker: float = 0.05, width: int = WIDTH) -> list[np.ndarray]:
    """A smooth scene, with other errors in each frame."""
    random = np.random.default_rng(1)
    scene = 1 / np.linspace(50, 5, HEIGHT, dtype=np.float32)[:, None] * np.ones(width, np.float32)
    return [
        scene
        * np.exp(cv2.resize(random.normal(0, flicker, (12, width // 16)).astype(np.float32), (width, HEIGHT)))
        for _ in range(count)
    ]


def seen(pixels: np.ndarray, disparity: np.ndarray, view: View | None = None, source: int = 0) -> SeenFrame:
    return SeenFrame(pixels=pixels, disparity=disparity, source=source, view=view)


def change(maps: list[np.ndarray]) -> float:
    """How much log depth differs from map to map, in the median."""
    return float(np.median([np.abs(np.log(a / b)) for a, b in pairwise(maps)]))


def test_the_first_frame_is_left_as_it_is() -> None:
    (disparity,) = disparities(1)
    np.testing.assert_array_equal(Steadier(0.8).steady(seen(picture(), disparity)), disparity)


def test_flicker_of_a_still_camera_shrinks_several_fold() -> None:
    steadier, raw = Steadier(0.8), disparities(20)
    held = [steadier.steady(seen(picture(), each)) for each in raw]
    assert change(held[5:]) < change(raw[5:]) / 3


def test_a_change_within_the_gate_is_held_back_by_the_weight_that_the_formula_gives() -> None:
    steadier, (disparity,) = Steadier(0.5), disparities(1)
    steadier.steady(seen(picture(), disparity))
    held = steadier.steady(seen(picture(), disparity * np.float32(np.exp(0.06))))
    # l = .06 beside the past's 0; r = -.06
    expected = 0.06 - 0.5 * np.exp(-((0.06 / 0.15) ** 2)) * 0.06
    np.testing.assert_allclose(np.log(held / disparity), expected, atol=1e-5)


def test_what_comes_nearer_by_much_is_not_held_back() -> None:
    steadier, (disparity,) = Steadier(1.0), disparities(1)
    steadier.steady(seen(picture(), disparity))
    nearer = disparity.copy()
    nearer[80:120, 300:400] *= 1.6
    np.testing.assert_allclose(steadier.steady(seen(picture(), nearer)), nearer, rtol=1e-3)


def test_what_comes_nearer_little_by_little_stays_at_most_a_few_percent_behind() -> None:
    steadier, (disparity,) = Steadier(1.0), disparities(1)
    for step in range(100):
        now = disparity * np.float32(1.01**step)
        held = steadier.steady(seen(picture(), now))
    assert float(np.abs(np.log(held / now)).max()) < 0.08


@pytest.mark.parametrize("step_px", [20, -20, 7])
def test_under_a_pan_depth_is_held_to_the_places_that_it_is_of(step_px: int) -> None:
    whole, steadier = picture(width=1280), Steadier(0.8)
    truth = np.linspace(0.02, 0.2, 1280, dtype=np.float32) * np.ones((HEIGHT, 1), np.float32)
    truth[:, 600:] *= 2  # an edge, which must not smear
    raw_error, error = [], []
    for number, noise in enumerate(disparities(12)):
        left = 300 + step_px * number
        here = truth[:, left : left + WIDTH]
        raw = here * noise / disparities(1, flicker=0)[0]
        held = steadier.steady(seen(np.ascontiguousarray(whole[:, left : left + WIDTH]), raw))
        raw_error.append(np.abs(np.log(raw / here)).mean())
        error.append(np.abs(np.log(held / here)).mean())
    assert np.mean(error[4:]) < 0.75 * np.mean(raw_error[4:])


def test_the_first_frame_after_a_cut_is_left_as_it_is() -> None:
    steadier, raw = Steadier(0.8), disparities(4)
    for each in raw[:3]:
        steadier.steady(seen(picture(0), each))
    np.testing.assert_array_equal(steadier.steady(seen(picture(9), raw[3])), raw[3])


@pytest.mark.parametrize("change", ["source", "size"])
def test_frames_of_another_size_or_another_network_start_anew(change: str) -> None:
    steadier, (one, two) = Steadier(0.8), disparities(2)
    steadier.steady(seen(picture(), one))
    frame = seen(picture(), two, source=1)
    if change == "size":
        frame = SeenFrame(pixels=picture()[:96], disparity=two[:96], source=(96, WIDTH))
    np.testing.assert_array_equal(steadier.steady(frame), frame.disparity)


def test_two_videos_do_not_mix() -> None:
    one, two = disparities(12)[:6], disparities(12)[6:]
    together, apart = (Steadier(0.8), Steadier(0.8)), (Steadier(0.8), Steadier(0.8))
    mixed = [
        (together[0].steady(seen(picture(0), a)), together[1].steady(seen(picture(1), b)))
        for a, b in zip(one, two, strict=True)
    ]
    np.testing.assert_array_equal([a for a, _ in mixed], [apart[0].steady(seen(picture(0), a)) for a in one])
    np.testing.assert_array_equal([b for _, b in mixed], [apart[1].steady(seen(picture(1), b)) for b in two])


def test_pictures_without_details_are_held_and_a_black_one_between_them_is_a_cut() -> None:
    steadier, raw = Steadier(0.8), disparities(4)
    grey, black = np.full((HEIGHT, WIDTH, 3), 90, np.uint8), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    steadier.steady(seen(grey, raw[0]))
    assert not np.array_equal(steadier.steady(seen(grey, raw[1])), raw[1])
    steadier.steady(seen(picture(), raw[2]))
    np.testing.assert_array_equal(steadier.steady(seen(black, raw[3])), raw[3])


def test_what_has_no_depth_stays_so_and_spoils_no_frame_after_it() -> None:
    steadier, (one, two, three) = Steadier(0.8), disparities(3)
    holed = two.copy()
    holed[:10], holed[10:20], holed[20:30], holed[30:40] = 0.0, -1.0, np.nan, np.inf
    steadier.steady(seen(picture(), one))
    held = steadier.steady(seen(picture(), holed))
    np.testing.assert_array_equal(held[:40], holed[:40])
    after = steadier.steady(seen(picture(), three))
    np.testing.assert_array_equal(after[:40], three[:40])
    assert np.isfinite(after).all()


def test_depth_is_left_alone_where_nothing_is_held() -> None:
    steadier, raw = Steadier(0.0), disparities(3)
    for each in raw:
        np.testing.assert_allclose(steadier.steady(seen(picture(), each)), each, rtol=1e-6)


def wall(distance_m: float, left_m: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A wall across the view: its picture, as if painted on it, and its disparity."""
    texture = picture(3, width=2560)
    x = (np.arange(WIDTH) + 0.5 - LENS.cx_px) / LENS.fx_px * distance_m + left_m
    y = (np.arange(HEIGHT) + 0.5 - LENS.cy_px) / LENS.fy_px * distance_m
    columns, rows = np.meshgrid(x * 60 + 1280, y * 60 + 96)
    pixels = cv2.remap(
        texture,
        columns.astype(np.float32),
        rows.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return pixels, np.full((HEIGHT, WIDTH), 1 / distance_m, np.float32)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_with_poses_a_wall_that_comes_nearer_is_followed_without_lag(factor: float) -> None:
    scale = Scale(factor=factor, unit="metre", source="checkpoint", basis=Basis())
    known, unknown = Steadier(1.0), Steadier(1.0)
    for step in range(8):
        distance_m = 20 - 0.8 * step
        pixels, disparity = wall(distance_m)
        disparity = disparity * np.float32(factor)
        matrix = np.eye(4)
        matrix[2, 3] = 0.8 * step
        view = View(pose=Pose.of(matrix), lens=LENS, scale=scale)
        followed = known.steady(seen(pixels, disparity, view))
        behind = unknown.steady(seen(pixels, disparity))
    inner = (slice(20, -20), slice(40, -40))
    np.testing.assert_allclose(followed[inner], disparity[inner], rtol=1e-3)
    assert np.abs(np.log(behind / disparity))[inner].mean() > 0.01


def test_poses_that_do_not_fit_the_pictures_are_made_up_for_by_these() -> None:
    steadier, raw = Steadier(0.8), disparities(8)
    held = []
    for number, each in enumerate(raw):
        matrix = np.eye(4)
        matrix[0, 3] = 30.0 * number
        view = View(pose=Pose.of(matrix), lens=LENS, scale=METRES)
        held.append(steadier.steady(seen(picture(), each, view)))
    assert change(held[3:]) < change(raw[3:]) / 2


@pytest.mark.parametrize("steadiness", [-0.1, 1.1, float("nan")])
def test_a_steadiness_outside_its_range_is_named(steadiness: float) -> None:
    with pytest.raises(ValueError, match=f"{steadiness}"):
        Steadier(steadiness)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([1.0] * 11, "11 numbers; expected 12"),
        ([0.0] * 12, "expected a rotation"),
        ([1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0], "expected a rotation"),  # left-handed
        ([1, 0, 0, float("nan"), 0, 1, 0, 0, 0, 0, 1, 0], "holds nan"),
        ([1, 0, 0, 1e9, 0, 1, 0, 0, 0, 0, 1, 0], "holds 1000000000"),
        ("here", "expected a list of 12 numbers"),
        ([True] * 12, "expected a list of 12 numbers"),
    ],
)
def test_what_is_no_pose_is_told(given: object, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        pose_of_list(given)


def test_a_pose_of_kitti_s_digits_is_one() -> None:
    line = "9.999996e-01 -9.035185e-04 -2.101169e-04 1.289128e-03 9.037964e-04 9.999987e-01 1.325646e-03 "
    line += "-1.821616e-02 2.089193e-04 -1.325834e-03 9.999991e-01 1.310643e+00"
    numbers = [float(word) for word in line.split()]
    assert pose_of_list(numbers).rows[2][3] == pytest.approx(1.310643)
    assert Pose.of(STILL.rows) == STILL
