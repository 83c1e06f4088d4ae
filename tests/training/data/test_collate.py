import numpy as np
import pytest
import torch

from tests.training.data.fabricated import Memory
from training.data.augment import Augmentation, ColourJitter, Shade
from training.data.collate import collate, frame
from training.data.sequence import Sample, View

DARKER = ColourJitter(brightness=0.5, contrast=1.0, saturation=1.0, hue=0.0)


def framed(sample, augmentation=None, tokens=None):
    return frame(sample, augmentation or Augmentation(), height=8, width=16, tokens=tokens)


def lonely(**changes):
    values = {
        "key": "lonely",
        "image": np.full((8, 16, 3), 51, np.uint8),
        "intrinsics": np.eye(3, dtype=np.float32),
        "sources": (),
        "depth_m": None,
    }
    return Sample(**{**values, **changes})


def test_images_become_channels_first_in_0_to_1():
    sample = Memory(1)[0]
    batch = collate([framed(sample)])
    expected = torch.from_numpy(sample.image).permute(2, 0, 1) / 255
    assert torch.allclose(batch.image[0], expected, atol=1e-7)
    assert batch.image.is_contiguous()
    assert batch.image.max() <= 1


def test_views_that_a_sample_lacks_are_masked():
    one_view = (View(image=np.full((8, 16, 3), 102, np.uint8), source_T_target=None, role="next"),)
    batch = collate([framed(Memory(1)[0]), framed(lonely()), framed(lonely(sources=one_view))])
    assert batch.source_mask.tolist() == [[True, True], [False, False], [True, False]]
    assert batch.pose_known.tolist() == [[False, True], [False, False], [False, False]]
    assert batch.sources[1].abs().max() == 0
    assert batch.sources[2, 0, 0, 0, 0] == pytest.approx(0.4)
    assert torch.equal(batch.source_T_target[1], torch.eye(4).expand(2, 4, 4))
    assert batch.source_time[:, 0].tolist() == [1, 0, 1]


def test_depth_is_zero_where_a_sample_has_none_and_absent_where_none_has():
    batch = collate([framed(Memory(1)[0]), framed(lonely())])
    assert batch.depth_m is not None
    assert batch.depth_m[:, 0, 0, 0].tolist() == [1, 0]
    assert batch.depth_is_label.tolist() == [True, False]
    assert collate([framed(lonely())]).depth_m is None


@pytest.mark.parametrize("light", [{"jitter": DARKER}, {"shade": Shade(stops=((1.0,),))}])
def test_other_light_reaches_what_the_networks_see_and_not_what_is_compared(light):
    sample = Memory(1)[0]
    batch = collate([framed(sample, Augmentation(**light)), framed(sample)])
    assert torch.equal(batch.image[0], batch.image[1])
    assert torch.equal(batch.sources[0], batch.sources[1])
    assert batch.image_augmented[0].mean() < 0.6 * batch.image[0].mean()
    assert torch.equal(batch.image_augmented[1], batch.image[1])
    assert batch.pose_views[0].mean() < 0.6 * batch.sources[0].mean()
    assert torch.equal(batch.pose_views[1], batch.sources[1])


def test_without_other_light_the_networks_see_the_images_themselves():
    batch = collate([framed(Memory(1)[0])])
    assert batch.image_augmented.data_ptr() == batch.image.data_ptr()
    assert batch.pose_views is batch.sources


def test_tokens_are_stacked_grid_by_grid():
    tokens = [torch.full((4, 2, 1, 3), value, dtype=torch.float16) for value in (1, 2)]
    batch = collate([framed(Memory(1)[0], tokens=tokens[0]), framed(lonely(), tokens=tokens[1])])
    assert [grid.shape for grid in batch.tokens] == [(2, 2, 1, 3)] * 4
    assert batch.tokens[3][:, 0, 0, 0].tolist() == [1, 2]
    assert batch.tokens[0].dtype == torch.float32


def test_a_batch_has_tokens_only_if_all_its_samples_have():
    tokens = torch.zeros((4, 2, 1, 3), dtype=torch.float16)
    assert collate([framed(lonely(), tokens=tokens), framed(lonely())]).tokens is None


def test_a_batch_moves_to_a_device_whole():
    tokens = torch.zeros((4, 2, 1, 3), dtype=torch.float16)
    batch = collate([framed(Memory(1)[0], Augmentation(jitter=DARKER), tokens=tokens)])
    moved = batch.to("meta")
    assert moved.keys == batch.keys
    tensors = {name: value for name, value in vars(moved).items() if name not in ("keys", "tokens")}
    assert {tensor.device.type for tensor in (*tensors.values(), *moved.tokens)} == {"meta"}


def test_unknown_intrinsics_are_told():
    batch = collate([framed(lonely(intrinsics_known=False)), framed(lonely())])
    assert batch.intrinsics_known.tolist() == [False, True]
