"""NYU Depth v2 as it is published: two MATLAB files."""

import numpy as np
import pytest

from training.data.layout import LayoutError
from training.judge.evaluation import evaluate
from training.judge.protocols.nyu import NYU, NyuFrames
from training.judge.protocols.protocol import JudgingError

h5py = pytest.importorskip("h5py")
scipy_io = pytest.importorskip("scipy.io")


@pytest.fixture
def nyu(tmp_path):
    """Three labelled frames whose red is depth in decimetres; the second and the third are judged."""
    ramp = np.broadcast_to(np.linspace(10, 90, 640), (480, 640))
    red = np.stack([ramp, ramp + 1, ramp + 2]).round().astype(np.uint8)
    images = np.repeat(red[:, None], 3, axis=1)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = images.transpose(0, 1, 3, 2)  # columns first, as MATLAB stores them
        file["depths"] = (red / 10).astype(np.float32).transpose(0, 2, 1)
    scipy_io.savemat(tmp_path / "splits.mat", {"testNdxs": np.array([[2], [3]])})
    return tmp_path


def test_the_test_frames_are_those_of_the_split_counted_from_one(nyu):
    frames = NyuFrames(nyu)
    assert len(frames) == 2
    assert [frames[index].key for index in range(2)] == ["nyu/0002", "nyu/0003"]
    assert frames[0].image.shape == (480, 640, 3)
    assert np.allclose(frames[0].depth_m, frames[0].image[..., 0] / 10)


def test_a_right_prediction_is_perfect_in_the_published_window(nyu):
    report = evaluate(
        lambda images: [10 / image[..., 0].astype(np.float32) for image in images], NyuFrames(nyu), NYU
    )
    assert report.mean.abs_rel == pytest.approx(0, abs=1e-6)
    assert report.scores[0].pixels == 426 * 560
    assert "published: 654, so not comparable" in report.conditions()


def test_missing_files_and_frames_are_named(nyu, tmp_path):
    scipy_io.savemat(nyu / "splits.mat", {"testNdxs": np.array([[4]])})
    with pytest.raises(JudgingError, match=r"names frame 4, and .* has 3"):
        NyuFrames(nyu)
    (nyu / "splits.mat").unlink()
    with pytest.raises(LayoutError, match=r"splits\.mat"):
        NyuFrames(nyu)
