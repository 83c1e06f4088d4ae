import numpy as np
import pytest

from service.codec.measure import ground_of
from service.codec.point_cloud import intrinsics_of, rays, resized_intrinsics
from service.codec.scale import scale_from_distance
from service.contract.errors import InvalidArgument
from service.contract.request import FieldOfView, Intrinsics

LENS = Intrinsics(fx_px=120, fy_px=120, cx_px=100, cy_px=40)
HEIGHT, WIDTH = 100, 200


def street(camera_height: float, pitch_deg: float = 0.0, farthest: float = 80.0) -> np.ndarray:
    """Depth of flat ground under a camera that may look down a little, and a wall at the end."""
    x, y = rays(LENS, HEIGHT, WIDTH)
    down, ahead = np.cos(np.radians(pitch_deg)), np.sin(np.radians(pitch_deg))
    disparity = (down * y + ahead)[:, None] / camera_height + 0 * x[None]
    return (1 / np.maximum(disparity, 1 / farthest)).astype(np.float32)


@pytest.mark.parametrize("pitch_deg", [-3.0, 0.0, 8.0])
def test_a_camera_at_known_height_over_flat_ground_knows_its_metres(pitch_deg: float) -> None:
    relative = street(1.65, pitch_deg) / 7.5
    factor = 1.65 / ground_of(relative, LENS).height
    assert factor == pytest.approx(7.5, rel=1e-3)


def test_noise_and_a_car_on_the_road_do_not_mislead() -> None:
    random = np.random.default_rng(1)
    relative = street(1.5) / 3 * random.normal(1, 0.01, (HEIGHT, WIDTH)).astype(np.float32)
    relative[60:90, 60:100] = 1.2
    assert 1.5 / ground_of(relative.astype(np.float32), LENS).height == pytest.approx(3, rel=0.02)


def test_a_wall_is_not_taken_for_ground() -> None:
    with pytest.raises(InvalidArgument, match="not level"):
        ground_of(np.full((HEIGHT, WIDTH), 4, np.float32), LENS)


def test_rubble_is_not_taken_for_ground() -> None:
    rubble = np.random.default_rng(0).uniform(1, 20, (HEIGHT, WIDTH)).astype(np.float32)
    with pytest.raises(InvalidArgument, match="no flat ground"):
        ground_of(rubble, LENS)


def test_a_known_pixel_gives_its_distance() -> None:
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[20, 30] = 900
    assert scale_from_distance(depth, x_px=30.2, y_px=20.9, distance_m=5).factor == 2.5


@pytest.mark.parametrize(("x_px", "y_px"), [(200, 0), (0, 100)])
def test_a_known_pixel_outside_is_refused(x_px: float, y_px: float) -> None:
    with pytest.raises(InvalidArgument, match="is outside"):
        scale_from_distance(np.ones((HEIGHT, WIDTH), np.float32), x_px=x_px, y_px=y_px, distance_m=5)


def test_a_field_of_view_of_90_degrees_is_half_the_width_in_focal_length() -> None:
    lens = intrinsics_of(FieldOfView(horizontal_deg=90), 100, 300)
    assert lens.fx_px == pytest.approx(150)
    assert (lens.cx_px, lens.cy_px) == (150, 50)


def test_resized_intrinsics_see_the_same_rays() -> None:
    half = resized_intrinsics(LENS, 0.5, 0.5)
    # The corner between four pixels is one place at both sizes.
    assert (100 - half.cx_px * 2) / (half.fx_px * 2) == pytest.approx((100 - LENS.cx_px) / LENS.fx_px)
