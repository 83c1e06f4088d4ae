"""What a run's checkpoint says of where it comes from."""

import pytest

from training.release.publish import without_folders


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("45% KITTI raw at /data/kitti/raw: 49 frames", "45% KITTI raw at raw: 49 frames"),
        ("video /home/ann/my.mp4, 640x192", "video my.mp4, 640x192"),
        ("synthetic world, seed 31: 440 frames", "synthetic world, seed 31: 440 frames"),
        ("12 m/s, true/predicted", "12 m/s, true/predicted"),
    ],
)
def test_data_is_named_without_the_folders_of_the_machine(line, kept):
    assert without_folders(line) == kept
