from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.worlds import photograph
from training.data.hinted import hint_path
from training.data.kitti_raw import KittiRawConfig
from training.sources import READERS, SourceError, help_text, open_sources, read_config


def test_a_line_is_read_into_the_readers_own_configuration():
    config = read_config(
        "kitti-raw:/data/kitti?drives=a,b&stereo=no&offsets=-2,2&min_motion_m=0.1&depth=scan"
    )
    assert config == KittiRawConfig(
        root=Path("/data/kitti"),
        drives=("a", "b"),
        stereo=False,
        offsets=(-2, 2),
        min_motion_m=0.1,
        depth="scan",
    )


def test_a_path_may_hold_colons_and_an_option_may_be_none():
    config = read_config("video:/films/12:30.mp4?fov_deg=70&principal_px=none")
    assert config.path == Path("/films/12:30.mp4")
    assert config.fov_deg == 70
    assert config.principal_px is None


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("/data/kitti", "names no kind of data; expected kitti-raw"),
        ("imagenet:/data", "names no kind of data"),
        ("kitti-raw:", "has no path"),
        ("kitti-raw:/data?drive=a", "no option 'drive'; expected .*drives"),
        ("kitti-raw:/data?stereo=maybe", "stereo is 'maybe'; expected yes or no"),
        ("kitti-raw:/data?depth=radar", "depth is 'radar'; expected none, scan, png"),
        ("kitti-raw:/data?min_motion_m=far", "min_motion_m is 'far'; expected a number"),
        ("video:/film.mp4?focal_px=700", "focal_px is '700'; expected 2 values"),
        ("video:/film.mp4", "expected focal_px, fov_deg or learn_intrinsics"),
        ("synthetic:?withhold=weather", "withhold is 'weather'; expected poses, stereo"),
        ("synthetic:?narrowed=40", "narrowed is '40'; expected a width over height of 0.25 to 4"),
        ("synthetic:/data", "has a path; expected synthetic"),
        ("video:/film.mp4?fov_deg=70&weight=much", "weight is 'much'; expected a number"),
    ],
)
def test_a_line_that_cannot_be_understood_is_refused_with_what_was_expected(line, complaint):
    with pytest.raises(SourceError, match=complaint):
        read_config(line)


def film(folder, count=5, start=0):
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03d}.png"), photograph(4.0 * number + start))
    return folder


def test_several_lines_are_mixed_by_their_weights(tmp_path):
    first, second = film(tmp_path / "a"), film(tmp_path / "b", start=50)
    mixture = open_sources([f"video:{first}?fov_deg=77&weight=3", f"video:{second}?fov_deg=77&weight=1"])
    assert len(mixture) == 10
    assert mixture.describe().startswith("75%")


def test_facts_may_be_withheld_from_any_kind_of_data():
    mixture = open_sources(["synthetic:?sequences=1&frames=2&withhold=poses,labels"])
    assert mixture.describe().endswith("labels and poses withheld")


def test_hints_stay_where_a_data_set_s_own_labels_are_withheld(tmp_path):
    line = "synthetic:?sequences=1&frames=2&height=32&width=64&stereo=no&withhold=labels"
    hinted, plain = open_sources([line]).keys
    path = hint_path(tmp_path, hinted)
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), np.full((32, 64), 7 * 256, np.uint16))
    mixture = open_sources([f"{line}&hints={tmp_path}"])
    assert mixture[0].depth_is_label
    assert np.all(mixture[0].depth_m == 7)
    assert not mixture[1].depth_is_label
    assert mixture.keys == (hinted, plain)


def test_any_kind_of_data_may_be_narrowed():
    mixture = open_sources(["synthetic:?sequences=1&frames=1&height=32&width=64&narrowed=1&stereo=no"])
    assert mixture.describe().endswith("narrowed to 1:1")
    assert mixture[0].image.shape == (32, 32, 3)


def test_a_weight_for_some_only_is_refused(tmp_path):
    first, second = film(tmp_path / "a"), film(tmp_path / "b")
    with pytest.raises(SourceError, match="has no weight, but others have"):
        open_sources([f"video:{first}?fov_deg=77&weight=3", f"video:{second}?fov_deg=77"])


def test_no_data_at_all_is_refused_naming_the_kinds():
    with pytest.raises(SourceError, match=r"no data; expected .*video"):
        open_sources([])


def test_the_help_names_every_kind_and_its_options():
    text = help_text()
    for kind, reader in READERS.items():
        assert kind in text
        assert reader.place is None or f"{kind}:" in text
    assert "min_motion_m" in text
