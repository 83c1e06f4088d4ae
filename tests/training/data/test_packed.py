from pathlib import Path

import numpy as np
import pytest

from tests.training.worlds import HEIGHT, WIDTH, WallWorld
from training.data.frames import FrameError
from training.data.packed import Packed, PackedConfig, pack
from training.data.sources import SourceError, open_sources


class Walk(WallWorld):
    """One walk, in which the frame after one sample's is the next sample's."""

    def __getitem__(self, index):
        sample = super().__getitem__(0)
        shade = [sample.image + np.uint8(3 * (index + step + 1)) for step in (0, -1, 1)]
        views = tuple(
            type(view)(image=image, source_T_target=view.source_T_target, role=view.role)
            for view, image in zip(sample.sources, shade[1:], strict=True)
        )
        return type(sample)(
            key=self.keys[index],
            image=shade[0],
            intrinsics=sample.intrinsics,
            sources=views,
            depth_m=sample.depth_m,
            mask=np.arange(WIDTH)[None] < np.full((HEIGHT, 1), 50),
            intrinsics_known=False,
            camera="bonnet",
        )


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "pack.safetensors"
    assert pack(Walk(10), path, height=HEIGHT, width=WIDTH) == 10
    return path


def test_samples_come_back_as_they_were_save_for_what_jpeg_loses_and_measured_depth(packed):
    world, found = Walk(10), Packed(PackedConfig(file=packed))
    assert list(found.keys) == world.keys
    for index in (0, 7, 9):
        ours, own = found[index], world[index]
        assert np.abs(ours.image.astype(int) - own.image).mean() < 4
        for view, one in zip(ours.sources, own.sources, strict=True):
            assert np.abs(view.image.astype(int) - one.image).mean() < 4
            assert view.role == one.role
            np.testing.assert_array_equal(view.source_T_target, one.source_T_target)
        np.testing.assert_array_equal(ours.mask, own.mask)
        np.testing.assert_array_equal(ours.intrinsics, own.intrinsics)
        assert (ours.depth_m, ours.intrinsics_known, ours.camera) == (None, False, "bonnet")


def test_a_frame_that_several_samples_show_is_stored_once(packed):
    found = Packed(PackedConfig(file=packed))
    assert len(found._blobs) == 12 + 1  # ten targets, one frame before and one after them; and the mask


def test_a_file_is_no_larger_than_it_may_be_and_its_samples_are_spread_over_all(tmp_path):
    path = tmp_path / "pack.safetensors"
    count = pack(WallWorld(400), path, height=HEIGHT, width=WIDTH, max_bytes=300_000)
    assert path.stat().st_size <= 300_000
    indices = [int(key.split("/")[1]) for key in Packed(PackedConfig(file=path)).keys]
    assert len(indices) == count > 16
    assert indices == sorted(indices)
    assert max(indices) >= 200
    assert indices[1] - indices[0] == 1, "neighbours share frames"


def test_a_limit_below_one_sample_is_refused(tmp_path):
    with pytest.raises(ValueError, match="max_bytes is 1000; expected room for one sample"):
        pack(WallWorld(3), tmp_path / "pack.safetensors", height=HEIGHT, width=WIDTH, max_bytes=1000)


@pytest.mark.parametrize("content", [None, b"not a pack"])
def test_a_file_that_is_no_pack_is_named(tmp_path: Path, content):
    path = tmp_path / "pack.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((FrameError, SourceError), match=r"pack\.safetensors"):
        open_sources([f"packed:{path}"])
