"""The poses of a video's camera, read from a file of lines."""

from collections.abc import Sequence
from pathlib import Path

from service.contract.errors import InvalidArgument
from service.contract.pose import Pose
from service.predict.inputs import Input


def read_poses(path: Path, videos: Sequence[Input]) -> list[Pose]:
    """Return the poses that a file has for the one video of a run, a line a frame.

    Raises:
        InvalidArgument: A line is no pose, or there is not one video; likewise `OSError`.
    """
    if len(videos) != 1:
        raise InvalidArgument(f"--poses are those of one video; {len(videos)} videos are given")
    poses = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        try:
            poses.append(Pose(tuple(float(word) for word in line.split())))
        except (ValueError, InvalidArgument) as error:
            raise InvalidArgument(f"{path}, line {number}: {error}") from None
    return poses
