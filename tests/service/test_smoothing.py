import numpy as np
import pytest

from service.smoothing import ScaleSmoother


def scene(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(2.0, 50.0, (192, 640)).astype(np.float32)


def test_the_first_frame_is_left_as_it_is() -> None:
    assert ScaleSmoother(0.9).factor(scene()) == 1.0


def test_a_steady_scale_is_left_as_it_is() -> None:
    smoother = ScaleSmoother(0.9)
    assert [smoother.factor(scene()) for _ in range(5)] == [1.0] * 5


def test_a_jump_of_scale_is_held_back_by_the_strength() -> None:
    smoother = ScaleSmoother(0.75)
    smoother.factor(scene())
    # log 1.2 is kept to a quarter: 1.2 ** 0.25 is what is seen, 1.2 ** -0.75 is the factor.
    assert smoother.factor(scene() * np.float32(1.2)) == pytest.approx(1.2**-0.75, rel=1e-4)


def test_a_scale_that_stays_is_followed() -> None:
    smoother = ScaleSmoother(0.75)
    smoother.factor(scene())
    factors = [smoother.factor(scene() * np.float32(1.2)) for _ in range(40)]
    assert factors == sorted(factors)
    assert factors[-1] == pytest.approx(1.0, abs=1e-4)


def test_flicker_shrinks_several_fold() -> None:
    flicker = np.exp(np.random.default_rng(1).normal(0.0, 0.05, 200))
    smoother = ScaleSmoother(0.8)
    seen = [scale * smoother.factor((scene() * scale).astype(np.float32)) for scale in flicker]
    assert np.std(np.diff(np.log(seen))) < np.std(np.diff(np.log(flicker))) / 5


def test_a_cut_starts_anew() -> None:
    smoother = ScaleSmoother(0.9)
    smoother.factor(scene(0))
    smoother.factor(scene(0) * np.float32(1.1))
    assert smoother.factor(scene(1)) == 1.0


def test_a_video_that_changes_its_size_starts_anew() -> None:
    smoother = ScaleSmoother(0.9)
    smoother.factor(scene())
    assert smoother.factor(scene()[:96] * np.float32(1.2)) == 1.0


def test_holes_do_not_count() -> None:
    smoother = ScaleSmoother(0.75)
    smoother.factor(scene())
    holed = scene() * np.float32(1.2)
    holed[:, :100] = 0.0
    holed[:, 100:200] = np.inf
    holed[:, 200:300] = np.nan
    assert smoother.factor(holed) == pytest.approx(1.2**-0.75, rel=1e-4)


def test_a_frame_without_depth_has_no_scale_to_smooth() -> None:
    smoother = ScaleSmoother(0.75)
    smoother.factor(scene())
    assert smoother.factor(np.zeros((192, 640), np.float32)) == 1.0


@pytest.mark.parametrize("strength", [-0.1, 1.0, float("nan")])
def test_a_strength_outside_its_range_is_named(strength: float) -> None:
    with pytest.raises(ValueError, match=f"{strength}"):
        ScaleSmoother(strength)
