import numpy as np
import pytest

from tests.training.data.fabricated import oxts_line
from training.data.frames import FrameError
from training.data.oxts import EARTH_RADIUS_M, even_clock, interpolate, poses, read_records, read_timestamps

KARLSRUHE = [49.0, 8.4, 110.0, 0.0, 0.0, 0.0]
TENTH_S = 100_000_000


def moved(**changes):
    names = ["latitude", "longitude", "altitude", "roll", "pitch", "yaw"]
    return [value + changes.get(name, 0.0) for name, value in zip(names, KARLSRUHE, strict=True)]


def relative(first, second):
    world_T_first, world_T_second = poses(np.array([first, second]))
    return np.linalg.inv(world_T_first) @ world_T_second


def test_a_step_to_the_east_is_forward_for_a_car_that_heads_east():
    step_deg = np.degrees(1.0 / (EARTH_RADIUS_M * np.cos(np.radians(49.0))))
    assert np.allclose(relative(moved(), moved(longitude=step_deg))[:3, 3], [1, 0, 0], atol=1e-6)


def test_a_step_to_the_north_is_to_the_left_of_a_car_that_heads_east():
    step_deg = np.degrees(1.0 / EARTH_RADIUS_M)
    assert np.allclose(relative(moved(), moved(latitude=step_deg))[:3, 3], [0, 1, 0], atol=1e-6)


def test_altitude_is_up():
    assert np.allclose(relative(moved(), moved(altitude=2.0))[:3, 3], [0, 0, 2], atol=1e-6)


def test_yaw_turns_left_and_pitch_lowers_the_front():
    left = relative(moved(), moved(yaw=np.pi / 2))[:3, :3] @ [1, 0, 0]
    assert np.allclose(left, [0, 1, 0])
    down = relative(moved(), moved(pitch=0.1))[:3, :3] @ [1, 0, 0]
    assert np.allclose(down, [np.cos(0.1), 0, -np.sin(0.1)])


def test_a_record_between_two_is_interpolated_by_time():
    records = np.array([moved(), moved(altitude=1.0, yaw=0.2)])
    between = interpolate(records, np.array([0, TENTH_S]), TENTH_S // 4)
    assert np.allclose(between, moved(altitude=0.25, yaw=0.05))


def test_angles_are_interpolated_the_short_way_round():
    records = np.array([moved(yaw=np.pi - 0.1), moved(yaw=-np.pi + 0.1)])
    between = interpolate(records, np.array([0, TENTH_S]), TENTH_S // 2)
    assert between[5] == pytest.approx(np.pi)


def test_moments_far_from_any_record_have_no_pose():
    records = np.array([moved(), moved(), moved()])
    stamps = np.array([0, TENTH_S, 10 * TENTH_S])
    assert interpolate(records, stamps, -TENTH_S) is None
    assert interpolate(records, stamps, 11 * TENTH_S) is None
    assert interpolate(records, stamps, 5 * TENTH_S) is None
    assert interpolate(records, stamps, 0) is not None


def test_an_even_clock_is_found_under_the_jitter_of_the_records():
    numbers = np.arange(100)
    jitter = np.random.default_rng(0).uniform(-5e6, 5e6, 100).astype(np.int64)
    even = even_clock(numbers, 103_500_000 * numbers + jitter)
    assert np.abs(np.diff(even) - 103_500_000).max() < 50_000


def test_records_with_a_pause_follow_no_even_clock():
    numbers = np.arange(100)
    stamps = TENTH_S * numbers + np.where(numbers > 50, 10 * TENTH_S, 0)
    assert even_clock(numbers, stamps) is None


def test_time_stamps_keep_their_nanoseconds(tmp_path):
    (tmp_path / "t.txt").write_text("2011-09-26 13:08:24.450527488\n2011-09-26 13:08:24.554018560\n")
    assert np.diff(read_timestamps(tmp_path / "t.txt")).tolist() == [103_491_072]


def test_unreadable_records_and_stamps_are_named(tmp_path):
    (tmp_path / "bad.txt").write_text("49.0 north")
    with pytest.raises(FrameError, match=r"bad\.txt.*latitude"):
        read_records([tmp_path / "bad.txt"])
    with pytest.raises(FrameError, match=r"bad\.txt.*date"):
        read_timestamps(tmp_path / "bad.txt")


def test_records_are_read_from_their_first_six_fields(tmp_path):
    (tmp_path / "0.txt").write_text(oxts_line(north_m=0, yaw=1.5))
    assert read_records([tmp_path / "0.txt"]).tolist() == [[0.0, 8.4, 100.0, 0.0, 0.0, 1.5]]
