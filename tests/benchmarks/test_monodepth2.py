"""The comparison with Monodepth2's code, as far as it goes without that code."""

import pytest

from benchmarks.monodepth2 import taken


def test_a_folder_that_is_no_clone_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"evaluate_depth.py is not there; expected a clone"):
        taken(tmp_path)


def test_a_clone_without_one_of_the_functions_is_refused(tmp_path):
    (tmp_path / "evaluate_depth.py").write_text("def compute_errors(gt, pred):\n    return 0\n")
    with pytest.raises(SystemExit, match="has no function batch_post_process_disparity"):
        taken(tmp_path)


def test_only_the_functions_are_taken_and_nothing_around_them_runs(tmp_path):
    (tmp_path / "evaluate_depth.py").write_text(
        "import a_graphics_card\n"
        "def compute_errors(gt, pred):\n    return 1\n"
        "def batch_post_process_disparity(l, r):\n    return 2\n"
    )
    (tmp_path / "kitti_utils.py").write_text(
        "raise SystemError\n"
        + "".join(
            f"def {name}(*_):\n    return 3\n"
            for name in ("load_velodyne_points", "read_calib_file", "sub2ind", "generate_depth_map")
        )
    )
    assert taken(tmp_path)["compute_errors"](0, 0) == 1
