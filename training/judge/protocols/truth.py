"""Whether a data set has ground truth for every frame, told before the first one is judged."""

from training.data.frames import FrameDataset
from training.data.layout import Findings


def require_truth(frames: FrameDataset, what: str) -> None:
    """Refuse frames without ground truth, all of them at once.

    Raises:
        LayoutError: With every image that has none.
    """
    findings = Findings("ground truth", f"a {what} for each image")
    for index in range(len(frames)):
        moment = frames.moment(index)
        if moment.depth is None:
            findings.add(moment.frame.path, f"has no ground truth: expected a {what}")
    findings.raise_if_any()
