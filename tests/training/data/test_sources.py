from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.data.fabricated import kitti_raw
from tests.training.worlds import photograph
from training.data.hinted import hint_path
from training.data.kitti_raw import KittiRawConfig
from training.data.sources import (
    READERS,
    SourceError,
    check_together,
    foretell,
    help_text,
    open_sources,
    read_config,
)


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


def test_paths_are_taken_as_they_are_in_options_too():
    config = read_config("kitti-raw:/data/a+b%20c?depth=png&depth_root=/data/a+b%20c")
    assert (config.root, config.depth_root) == (Path("/data/a+b%20c"), Path("/data/a+b%20c"))


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
        ("video:/film.mp4?fov_deg=60&fps=nan", "fps is 'nan'; expected a finite number"),
        ("video:/film.mp4?focal_px=nan,700", "focal_px is 'nan'; expected a finite number"),
        ("synthetic:?weight=inf", "weight is 'inf'; expected a finite number"),
        ("video:/film.mp4?focal_px=700", "focal_px is '700'; expected 2 values"),
        ("video:/film.mp4?fov_deg=70&covers=0,0", r"covers is \(0, 0\); expected a height and a width"),
        ("video:/film.mp4?fov_deg=70&resized=yes", "resized is given without calibration"),
        ("video:/film.mp4", "expected focal_px, fov_deg, calibration or learn_intrinsics"),
        ("synthetic:?withhold=weather", "withhold is 'weather'; expected poses, stereo"),
        ("synthetic:?narrowed=40", "narrowed is '40'; expected a width over height of 0.25 to 4"),
        ("synthetic:/data", "has a path; expected synthetic"),
        ("kitti-raw:/data?drives=a&drives=b", "drives is given twice, 'a' and 'b'; expected once"),
        ("kitti-raw:/data?stereo", "'stereo' is no option; expected option=value"),
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


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        (
            "video:/a/film.mp4?fov_deg=70",
            "video:/b/film.mov?fov_deg=70",
            "two videos of the name 'film'; .*name=",
        ),
        (
            "video:/a.mp4?learn_intrinsics=yes&fov_deg=70&camera=phone",
            "video:/b.mp4?learn_intrinsics=yes&fov_deg=75&camera=phone",
            "one camera 'phone' of two lenses; expected the same",
        ),
        (
            "video:/a.mp4?learn_intrinsics=yes&camera=phone",
            "video:/b.mp4?fov_deg=75&camera=phone",
            "one camera 'phone' of two lenses; expected the same",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("use", [open_sources, lambda lines: foretell(lines, None)])
def test_lines_that_contradict_one_another_are_refused_before_files_are_looked_at(
    first, second, complaint, use
):
    with pytest.raises(SourceError, match=complaint):
        use([first, second])


def test_every_so_many_th_sample_is_taken_with_the_frames_beside_it(tmp_path):
    kitti_raw(tmp_path, frames=6)
    line = f"kitti-raw:{tmp_path}?stereo=no"
    whole, some = open_sources([line]), open_sources([f"{line}&every=2"])
    assert list(some.keys) == list(whole.keys)[::2]
    assert [view.frame.key for view in some.moment(1).views] == [
        view.frame.key for view in whole.moment(2).views
    ]
    assert some.describe().endswith(f"taking 1 sample of 2: {len(some)}")
    with pytest.raises(SourceError, match="every is '0'; expected at least 1"):
        open_sources([f"{line}&every=0"])


def test_a_video_may_be_read_whole_and_narrowed():
    line = "video:/a.mp4?fov_deg=70"
    check_together([line, f"{line}&narrowed=1.33"])
