import itertools
import threading
import time

import pytest
import torch

from tests.training.data.fabricated import Memory, kitti_raw
from tests.training.data.test_tokens import Columns
from tests.training.worlds import WallWorld
from training.data.augment import NO_AUGMENTATION, AugmentConfig
from training.data.frames import FrameError
from training.data.kitti_raw import KittiRaw, KittiRawConfig
from training.data.loader import BatchLoader, LoaderConfig
from training.data.mixture import Mixture
from training.data.tokens import TokenCache, TokensError, cache_tokens


def config(**changes):
    values = {
        "height": 8,
        "width": 16,
        "batch_size": 4,
        "pin_memory": False,
        "augment": AugmentConfig(jitter=1.0),
    }
    return LoaderConfig(**{**values, **changes})


def taken(loader, start, count):
    stream = loader.batches(start)
    batches = list(itertools.islice(stream, count))
    stream.close()
    return batches


def same(first, second):
    fields = (
        "image",
        "image_augmented",
        "sources",
        "sources_augmented",
        "source_T_target",
        "intrinsics",
        "depth_m",
    )
    return first.keys == second.keys and all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in fields
    )


def test_resuming_at_a_step_gives_the_same_batches_as_an_uninterrupted_run():
    whole = taken(BatchLoader(Memory(10), config(), seed=1), 0, 9)
    resumed = taken(BatchLoader(Memory(10), config(threads=3, prefetch=5), seed=1), 5, 4)
    assert all(same(first, second) for first, second in zip(whole[5:], resumed, strict=True))


def test_what_is_cached_or_how_many_threads_work_changes_nothing():
    loaders = [BatchLoader(Memory(10), config(**changes), seed=1) for changes in ({"cache_bytes": 0}, {})]
    first, second = (taken(loader, 0, 6) for loader in loaders)
    assert all(same(one, other) for one, other in zip(first, second, strict=True))


def test_another_seed_gives_other_batches():
    first, second = (BatchLoader(Memory(10), config(), seed=seed).batch_at(0) for seed in (1, 2))
    assert not same(first, second)


def test_the_same_sample_is_augmented_differently_in_the_next_epoch():
    loader = BatchLoader(Memory(1), config(batch_size=1), seed=1)
    first, second = loader.batch_at(0), loader.batch_at(1)
    assert first.keys == second.keys
    assert not torch.equal(first.image_augmented, second.image_augmented)


def test_an_epoch_shows_every_sample_once():
    batches = taken(BatchLoader(Memory(12), config(), seed=1), 0, 3)
    assert sorted(key for batch in batches for key in batch.keys) == list(Memory(12).keys)


def test_two_ranks_together_see_what_one_process_sees():
    one = BatchLoader(Memory(10), config(), seed=1)
    two = [BatchLoader(Memory(10), config(), seed=1, rank=rank, world_size=2) for rank in (0, 1)]
    for step in range(5):
        joint, parts = one.batch_at(step), [loader.batch_at(step) for loader in two]
        assert joint.keys == (*parts[0].keys, *parts[1].keys)
        for name in ("image_augmented", "sources", "intrinsics", "source_T_target"):
            parted = torch.cat([getattr(part, name) for part in parts])
            assert torch.equal(getattr(joint, name), parted)


def test_a_weighted_mixture_gives_each_part_its_share():
    mixture = Mixture([Memory(50, name="a"), Memory(50, name="b")], [9.0, 1.0])
    loader = BatchLoader(mixture, config(batch_size=20), seed=0)
    keys = [key for step in range(10) for key in loader.batch_at(step).keys]
    assert 16 <= sum(key.startswith("b/") for key in keys) <= 24


def test_going_through_in_order_shows_every_sample_once_and_unchanged():
    memory = Memory(10)
    batches = list(BatchLoader(memory, config(), seed=1).in_order())
    assert [key for batch in batches for key in batch.keys] == memory.keys
    assert [len(batch) for batch in batches] == [4, 4, 2]
    image = torch.from_numpy(memory[9].image).permute(2, 0, 1) / 255
    assert torch.allclose(batches[2].image_augmented[1], image, atol=1e-7)


def test_ranks_going_through_in_order_share_the_samples():
    memory = Memory(10)
    loaders = [BatchLoader(memory, config(), seed=1, rank=rank, world_size=2) for rank in (0, 1)]
    parts = [[key for batch in loader.in_order() for key in batch.keys] for loader in loaders]
    assert sorted(parts[0] + parts[1]) == memory.keys
    assert parts[1][:2] == ["memory/0002", "memory/0003"]


def test_crops_come_from_finer_images_with_matching_intrinsics():
    memory = Memory(4, height=32, width=64)
    loader = BatchLoader(
        memory, config(augment=AugmentConfig(flip=0, jitter=0, crop=1.0, max_zoom=2.0)), seed=1
    )
    batch = loader.batch_at(0)
    assert batch.image.shape == (4, 3, 8, 16)
    # The focal length 10 of the 64 x 32 image is 2.5 at 16 x 8, and grows with the zoom.
    focal = batch.intrinsics[:, 0, 0]
    assert ((focal > 2.5) & (focal <= 5.0)).all()


class Slow(Memory):
    def __getitem__(self, index):
        time.sleep(0.02)
        return super().__getitem__(index)


def test_the_share_of_waiting_is_high_for_a_fast_trainer_and_low_for_a_slow_one():
    fast = BatchLoader(Slow(400), config(cache_bytes=0), seed=1)
    stream = fast.batches()
    for _ in itertools.islice(stream, 8):
        pass
    assert fast.wait_share > 0.6
    fast.reset_wait_share()
    for _ in itertools.islice(stream, 4):
        time.sleep(0.15)
    assert fast.wait_share < 0.3
    stream.close()


def test_leaving_the_stream_stops_its_threads():
    stream = BatchLoader(Memory(10), config(), seed=1).batches()
    next(stream)
    assert any(thread.name.startswith("batches") for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_a_frame_that_vanishes_under_way_is_named(tmp_path):
    drive = kitti_raw(tmp_path)
    loader = BatchLoader(KittiRaw(KittiRawConfig(root=tmp_path)), config(), seed=1)
    for path in (drive / "image_02" / "data").iterdir():
        path.unlink()
    with pytest.raises(FrameError, match=r"\.png: is missing or cannot be decoded"):
        next(loader.batches())


def test_tokens_go_with_the_flip_of_their_sample(tmp_path):
    memory, foundation = Memory(6), Columns()
    cache = TokenCache.of(tmp_path, foundation, 8, 16)
    cache_tokens(memory, foundation, cache)
    batch = BatchLoader(memory, config(batch_size=6), seed=1, tokens=cache).batch_at(0)
    for number, grid in enumerate(batch.tokens):
        assert torch.allclose(grid, foundation(batch.image)[number], atol=2e-3)
    assert {bool(torch.equal(batch.image[row], batch.image[row].flip(-1))) for row in range(6)} == {False}


def test_missing_tokens_are_told_before_the_first_step(tmp_path):
    cache = TokenCache.of(tmp_path, Columns(), 8, 16)
    with pytest.raises(TokensError, match="12 of 12 entries are missing"):
        BatchLoader(Memory(6), config(), seed=1, tokens=cache)


def test_cached_tokens_and_crops_exclude_each_other(tmp_path):
    cache = TokenCache.of(tmp_path, Columns(), 8, 16)
    with pytest.raises(ValueError, match="random crops and cached tokens exclude each other"):
        BatchLoader(Memory(6), config(augment=AugmentConfig(crop=0.5)), seed=1, tokens=cache)


def test_a_crop_may_take_its_part_of_the_whole_images_tokens(tmp_path):
    cache = TokenCache.of(tmp_path, Columns(), 8, 16)
    cache_tokens(Memory(6), Columns(), cache)
    augment = AugmentConfig(flip=0.5, jitter=0, crop=1.0, max_zoom=1.5, resampled_tokens=True)
    loader = BatchLoader(Memory(6), config(batch_size=6, augment=augment), seed=1, tokens=cache)
    whole = BatchLoader(Memory(6), config(batch_size=6), seed=1, tokens=cache).batch_at(0)
    batch = loader.batch_at(0)
    assert [grid.shape for grid in batch.tokens] == [grid.shape for grid in whole.tokens]
    assert not torch.equal(batch.tokens[-1], whole.tokens[-1])
    assert loader.cached_bytes == 6 * 3 * 8 * 16 * 3 + 6 * 8 * 16 * 4, "images are kept at the network's size"


def test_tokens_of_another_size_are_refused(tmp_path):
    cache = TokenCache.of(tmp_path, Columns(), 16, 32)
    with pytest.raises(ValueError, match="tokens are of 32x16 images; expected 16x8"):
        BatchLoader(Memory(6), config(), seed=1, tokens=cache)


def test_a_batch_that_the_processes_cannot_share_is_refused():
    with pytest.raises(ValueError, match="a batch of 4 for rank 0 of 3"):
        BatchLoader(Memory(6), config(), seed=1, rank=0, world_size=3)
    with pytest.raises(ValueError, match="no samples to load"):
        BatchLoader(Memory(0), config(augment=NO_AUGMENTATION), seed=1)
    with pytest.raises(ValueError, match="threads is 0"):
        config(threads=0)


def test_metres_are_brought_to_the_network_s_unit():
    def batch(**options):
        config = LoaderConfig(height=8, width=16, batch_size=2, augment=NO_AUGMENTATION, threads=1, **options)
        return BatchLoader(WallWorld(2), config, seed=0).batch_at(0)

    metres, units = batch(), batch(metres_per_unit=2.5)
    assert torch.equal(units.depth_m, metres.depth_m / 2.5)
    assert torch.allclose(units.source_T_target[..., :3, 3], metres.source_T_target[..., :3, 3] / 2.5)
    assert torch.equal(units.source_T_target[..., :3], metres.source_T_target[..., :3])
