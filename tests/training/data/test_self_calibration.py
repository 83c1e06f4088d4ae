import cv2
import numpy as np
import pytest

from tests.training.street import Street
from training.data.self_calibration import Window, focal_per_width

WIDTH, HEIGHT = 240, 144


def windows(street, count=4):
    frames = [cv2.cvtColor(street.draw(number)[0], cv2.COLOR_RGB2GRAY) for number in range(5 * count)]
    return [frames[start : start + 5] for start in range(0, len(frames), 5)]


def fov_deg(focal):
    return 2 * np.degrees(np.arctan(0.5 / focal))


@pytest.mark.parametrize(
    ("truth", "turn_deg", "slides"), [(48.0, 14, True), (75.0, 14, True), (75.0, 9, False)]
)
def test_a_camera_that_turns_tells_its_field_of_view(truth, turn_deg, slides):
    street = Street(
        frames=20,
        width=WIDTH,
        height=HEIGHT,
        fov_deg=truth,
        turn_deg=turn_deg,
        slides=slides,
        grain=24,
        bonnet=0.0,
    )
    focal = focal_per_width(windows(street), (WIDTH / 2, HEIGHT / 2))
    assert fov_deg(focal) == pytest.approx(truth, rel=0.03)


def test_a_bonnet_is_masked_and_the_principal_point_need_not_be_the_middle():
    street = Street(frames=20, width=WIDTH, height=HEIGHT, turn_deg=14, grain=24, bonnet=0.2)
    whole = windows(street)
    cut = [[frame[: int(0.9 * HEIGHT)] for frame in window] for window in whole]
    mask = np.ones(cut[0][0].shape, bool)
    mask[int(0.75 * HEIGHT) :] = False
    focal = focal_per_width(cut, (WIDTH / 2, HEIGHT / 2), mask)
    assert fov_deg(focal) == pytest.approx(street.fov_deg, rel=0.03)


def test_a_camera_that_only_goes_ahead_tells_nothing():
    class Straight(Street):
        def pose(self, frame):
            return np.eye(3), np.array([0.0, -self.camera_height_m, self.step_m * frame])

    street = Straight(frames=10, width=WIDTH, height=HEIGHT, bonnet=0.0)
    assert focal_per_width(windows(street, 2), (WIDTH / 2, HEIGHT / 2)) is None


def test_frames_without_any_corner_tell_nothing():
    assert focal_per_width([[np.full((48, 64), 90, np.uint8)] * 5], (32, 24)) is None


def test_the_derivatives_are_those_of_the_errors():
    random = np.random.default_rng(0)
    window = Window(random.normal(0, 50, (2, 3, 2)), random.normal(0, 50, (3, 2)))
    window.poses, window.log_disparity = random.normal(0, 0.1, (2, 6)), random.normal(0, 0.1, 3)
    _, by_pose, by_depth = window.slopes(100.0)

    def numeric(values, at):
        found = []
        for step in (1e-6, -1e-6):
            values[at] += step
            found.append(window.slopes(100.0)[0])
            values[at] -= step
        return (found[0] - found[1]) / 2e-6

    for value in range(6):
        assert by_pose[1, :, :, value] == pytest.approx(numeric(window.poses, (1, value))[1], abs=1e-5)
    assert by_depth[:, 2] == pytest.approx(numeric(window.log_disparity, 2)[:, 2], abs=1e-5)
