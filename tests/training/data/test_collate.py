from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.data.fabricated import Memory
from tests.training.worlds import FOCAL, HEIGHT, STEP_M, WALL_M, WIDTH, WallWorld
from training.data.augment import Augmentation, ColourJitter, Crop, Shade
from training.data.collate import canonical, collate, frame
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


@pytest.mark.parametrize("flip", [False, True])
def test_what_is_masked_has_no_depth_to_learn(flip):
    mask = np.ones((8, 16), bool)
    mask[5:, :6] = False
    sample = lonely(mask=mask, depth_m=np.full((8, 16), 7, np.float32), depth_is_label=True)
    depth_m = framed(sample, Augmentation(flip=flip)).depth_m
    assert np.array_equal(depth_m, 7 * (mask[:, ::-1] if flip else mask))


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
    moved = replace(batch, counted=batch.count()).to("meta")
    assert moved.keys == batch.keys
    apart = ("keys", "tokens", "mask", "counted")
    tensors = [value for name, value in vars(moved).items() if name not in apart]
    tensors += [*moved.tokens, moved.counted.moved, moved.counted.unknown]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_unknown_intrinsics_are_told():
    batch = collate([framed(lonely(intrinsics_known=False)), framed(lonely())])
    assert batch.intrinsics_known.tolist() == [False, True]


@pytest.mark.parametrize("side", [1.0, 0.5])
def test_the_canonical_lens_multiplies_depth_and_moves_by_one_factor(side):
    wall = WallWorld(1)[0]
    crop = Augmentation(crop=Crop(top=0.25, left=0.25, side=side) if side < 1 else None)
    plain = frame(wall, crop, height=HEIGHT, width=WIDTH)
    ratio = FOCAL / HEIGHT / side
    brought = canonical(plain, 1.92)
    assert brought.depth_m == pytest.approx(WALL_M * 1.92 / ratio)
    assert brought.source_T_target[1][0, 3] == pytest.approx(-STEP_M * 1.92 / ratio)
    assert np.array_equal(brought.source_T_target[1][:3, :3], np.eye(3))
    assert np.array_equal(brought.intrinsics, plain.intrinsics)


def test_a_lens_that_is_not_known_cannot_be_brought_to_the_canonical_one():
    with pytest.raises(ValueError, match="the lens of lonely is not known"):
        canonical(framed(lonely(intrinsics_known=False)), 1.92)
