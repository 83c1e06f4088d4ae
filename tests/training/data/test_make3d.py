import numpy as np
import pytest
from scipy.io import savemat

from tests.training.data.fabricated import pattern, write_image
from training.data.frames import FrameError
from training.data.layout import LayoutError
from training.data.make3d import Make3d, read_grid


def grid(metres):
    positions = np.zeros((55, 305, 4))
    positions[..., 3] = metres
    return {"Position3DGrid": positions}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "Gridlaserdata").mkdir()
    for number, name in enumerate(("10.21op2-p-015t000", "10.21op2-p-139t000"), start=1):
        write_image(tmp_path / "Test134" / f"img-{name}.jpg", pattern(number, 71, 53))
        savemat(tmp_path / "Gridlaserdata" / f"depth_sph_corr-{name}.mat", grid(10.0 * number))
    return tmp_path


def test_images_come_with_their_own_depth_grid(root):
    dataset = Make3d(root)
    assert list(dataset.keys) == ["make3d/10.21op2-p-015t000", "make3d/10.21op2-p-139t000"]
    image = dataset[1]
    assert image.image.shape == (71, 53, 3)
    assert image.depth_m.shape == (55, 305)
    assert image.depth_m.dtype == np.float32
    assert set(np.unique(image.depth_m)) == {20}


def test_an_incomplete_set_says_so(root):
    assert "2 of 134 images" in Make3d(root).describe()


def test_what_is_missing_is_told_with_the_expected_layout(root, tmp_path):
    (root / "Gridlaserdata" / "depth_sph_corr-10.21op2-p-015t000.mat").unlink()
    with pytest.raises(LayoutError, match=r"015t000\.mat: missing file(?s:.*)<root>/Test134"):
        Make3d(root)
    with pytest.raises(LayoutError, match="nowhere/Gridlaserdata: missing folder"):
        Make3d(tmp_path / "nowhere")


def test_a_broken_image_is_told_by_verification(root):
    Make3d(root).verify()
    (root / "Test134" / "img-10.21op2-p-015t000.jpg").write_bytes(b"no")
    with pytest.raises(LayoutError, match="not a readable image"):
        Make3d(root).verify()


def test_a_file_without_the_grid_is_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"other": np.zeros(3)})
    with pytest.raises(FrameError, match="Position3DGrid"):
        read_grid(tmp_path / "a.mat")
    (tmp_path / "b.mat").write_bytes(b"this is not a file of MATLAB" * 10)
    with pytest.raises(FrameError, match="Position3DGrid"):
        read_grid(tmp_path / "b.mat")
    savemat(tmp_path / "c.mat", {"Position3DGrid": np.zeros((55, 305))})
    with pytest.raises(FrameError, match=r"\(55, 305\); expected rows x columns x 4"):
        read_grid(tmp_path / "c.mat")
