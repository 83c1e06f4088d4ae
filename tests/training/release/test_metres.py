import numpy as np
import pytest

from model.metadata import LearnedCamera
from tests.training.data.fabricated import write_image
from tests.training.street import Street
from training.data.sources import open_sources
from training.release.metres import Distance, Frames, by_distances, by_height

STREET = Street(frames=4, height=96, width=160, bonnet=0.0, camera_height_m=1.4)
UNIT_M = 2.5
"""What a unit of the drawn networks' depth is worth."""


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """The street's folder, and a network that knows its depth in another unit, growing by 4 % a frame."""
    folder = tmp_path_factory.mktemp("street")
    known = {}
    for number in range(STREET.frames):
        image, depth_m = STREET.draw(number)
        write_image(folder / f"{number}.png", image)
        known[image.tobytes()] = depth_m / (UNIT_M * 1.04**number)
    return folder, lambda image: known[image.tobytes()]


def frames(folder, options):
    return Frames.of(open_sources([f"video:{folder}?{options}"]), STREET.height, STREET.width)


def test_a_camera_s_height_fixes_the_unit_over_many_frames_and_says_their_spread(filmed):
    folder, predict = filmed
    metres = by_height(predict, frames(folder, f"fov_deg={STREET.fov_deg}"), (), 1.4)
    assert metres.per_unit == pytest.approx(UNIT_M * 1.04**1.5, rel=0.02)
    assert (metres.counted, metres.of) == (4, 4)
    assert metres.spread == pytest.approx(1.48 * 0.04, rel=0.2)
    assert metres.fy_per_height == pytest.approx(STREET.focal_px / STREET.height)
    assert "with a spread of" in str(metres)


def test_a_learned_camera_is_taken_from_the_checkpoint(filmed):
    folder, predict = filmed
    unknown = frames(folder, "learn_intrinsics=yes&name=phone")
    focal = STREET.focal_px
    learned = LearnedCamera(
        name="phone", fx_per_width=focal / STREET.width, fy_per_height=focal / STREET.height
    )
    known = by_height(predict, frames(folder, f"fov_deg={STREET.fov_deg}"), (), 1.4)
    assert by_height(predict, unknown, (learned,), 1.4).per_unit == pytest.approx(known.per_unit, rel=1e-4)
    with pytest.raises(ValueError, match="has learned no camera 'phone'; expected the line of --data"):
        by_height(predict, unknown, (), 1.4)


def test_without_ground_metres_are_refused_with_what_would_do(filmed):
    folder, _ = filmed
    wall = lambda image: np.full(image.shape[:2], 3, np.float32)  # noqa: E731
    with pytest.raises(
        ValueError, match=r"0 of 4 frames show level ground.*expected a road, or --known-dist"
    ):
        by_height(wall, frames(folder, "fov_deg=75"), (), 1.4)


def test_distances_that_were_measured_fix_the_unit(filmed):
    folder, predict = filmed
    _, depth_m = STREET.draw(2)
    known = Distance(key="2", x_px=80, y_px=80, metres=float(depth_m[80, 80]))
    metres = by_distances(predict, frames(folder, "fov_deg=75"), (), [known])
    assert metres.per_unit == pytest.approx(UNIT_M * 1.04**2, rel=0.02)
    with pytest.raises(ValueError, match="names the frame '9', and 0 have that name; expected one, such as"):
        by_distances(predict, frames(folder, "fov_deg=75"), (), [Distance(key="9", x_px=1, y_px=1, metres=1)])
    with pytest.raises(ValueError, match="expected x below 160, y below 96"):
        by_distances(
            predict, frames(folder, "fov_deg=75"), (), [Distance(key="2", x_px=1, y_px=96, metres=1)]
        )
