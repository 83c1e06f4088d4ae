import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.config import FoundationConfig
from model.foundation import FoundationEncoder
from tests.training.data.fabricated import Memory, pattern
from training.data.augment import Crop
from training.data.prepared import PreparedDataset
from training.data.tokens import TokenCache, TokensError, cache_tokens, crop_tokens, fingerprint_of

IMAGE = pattern(1, 8, 16)
TOKENS = torch.arange(4 * 2 * 1 * 3, dtype=torch.float16).reshape(4, 2, 1, 3)


class Columns:
    """A foundation model in the head: each grid is the image's mean over rows, times the grid's number."""

    config = FoundationConfig(name="columns")
    fingerprint = "0" * 64

    def __init__(self):
        self.passes = []

    def __call__(self, image):
        self.passes.append(len(image))
        return tuple(image.mean(dim=2, keepdim=True) * number for number in range(4))


@pytest.fixture
def cache(tmp_path):
    return TokenCache(folder=tmp_path, fingerprint="f" * 64, height=8, width=16)


def test_tokens_come_back_as_they_were_written(cache):
    cache.write("drive/image_02/0001", False, IMAGE, TOKENS)
    assert torch.equal(cache.read("drive/image_02/0001", False, IMAGE), TOKENS)


def test_another_key_flip_size_or_model_has_other_tokens(cache):
    cache.write("a", False, IMAGE, TOKENS)
    others = [replace(cache, fingerprint="e" * 64), replace(cache, height=16), replace(cache, width=32)]
    for other, key, flipped in [(cache, "b", False), (cache, "a", True), *((c, "a", False) for c in others)]:
        assert other.missing([key], [flipped]) == [(key, flipped)]
        with pytest.raises(TokensError, match=f"no tokens of '{key}'"):
            other.read(key, flipped, IMAGE)


def test_tokens_of_another_image_under_the_same_key_are_noticed(cache):
    cache.write("a", False, IMAGE, TOKENS)
    with pytest.raises(TokensError, match="of another image than 'a'"):
        cache.read("a", False, pattern(2, 8, 16))


def test_a_broken_file_is_an_error_that_names_it(cache):
    cache.write("a", False, IMAGE, TOKENS)
    path = cache.path("a", False)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TokensError, match=r"a\.safetensors cannot be read"):
        cache.read("a", False, IMAGE)


def test_keys_cannot_leave_the_cache(cache):
    path = cache.path("../../etc/passwd", False)
    assert path.resolve().is_relative_to(cache.folder.resolve())


def test_missing_tokens_are_computed_once_for_both_flips(tmp_path):
    foundation, memory = Columns(), Memory(5)
    cache = TokenCache.of(tmp_path, foundation, 8, 16)
    seen = []
    count = cache_tokens(memory, foundation, cache, batch_size=4, progress=lambda *now: seen.append(now))
    assert count == 10
    assert foundation.passes == [4, 4, 2]
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert cache_tokens(memory, foundation, cache) == 0
    image = PreparedDataset(memory, height=8, width=16, max_bytes=0).target(3)
    plain, flipped = (cache.read("memory/0003", flip, image) for flip in (False, True))
    expected = torch.from_numpy(image).float().mean(dim=0).T[:, None] / 255
    assert torch.allclose(plain[1].float(), expected, atol=1e-3)
    assert torch.equal(flipped, plain.flip(-1))


def test_two_processes_share_the_work_whichever_begins_first(tmp_path):
    foundation, memory = Columns(), Memory(5)
    cache = TokenCache.of(tmp_path, foundation, 8, 16)
    assert cache_tokens(memory, foundation, cache, rank=0, world_size=2) == 5
    assert len(cache.missing(memory.keys)) == 5
    assert cache_tokens(memory, foundation, cache, rank=1, world_size=2) == 5
    assert cache.missing(memory.keys) == []


def test_the_fingerprint_tells_weights_and_blocks_apart():
    first, again, other = Columns(), Columns(), Columns()
    other.config = FoundationConfig(name="columns", blocks=(1, 2, 3, 4))
    assert fingerprint_of(first) == fingerprint_of(again) != fingerprint_of(other)


def test_a_real_foundation_model_fills_the_cache_with_what_it_computes(tmp_path):
    torch.manual_seed(0)
    foundation = FoundationEncoder(FoundationConfig(name="test_vit", blocks=(1, 3, 5, 6)), "random")
    memory = Memory(2, height=64, width=96)
    cache = TokenCache.of(tmp_path, foundation, 64, 96)
    cache_tokens(memory, foundation, cache)
    image = memory[1].image
    direct = foundation(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    for stored, grid in zip(cache.read("memory/0001", False, image), direct, strict=True):
        assert torch.allclose(stored.float(), grid[0], atol=2e-3, rtol=2e-3)


def test_a_run_in_bfloat16_keeps_tokens_of_its_own_close_to_those_of_float32(tmp_path):
    torch.manual_seed(0)
    foundation = FoundationEncoder(FoundationConfig(name="test_vit", blocks=(1, 3, 5, 6)), "random")
    memory = Memory(2, height=64, width=96)
    exact = TokenCache.of(tmp_path, foundation, 64, 96)
    quick = TokenCache.of(tmp_path, foundation, 64, 96, bfloat16=True)
    cache_tokens(memory, foundation, exact)
    assert len(quick.missing(memory.keys)) == 4
    cache_tokens(memory, foundation, quick)
    precise, rounded = (cache.read("memory/0001", False, memory[1].image).float() for cache in (exact, quick))
    error = (precise - rounded).abs().mean() / precise.abs().mean()
    assert 1e-4 < error < 0.02


WRITER = """
import sys
from pathlib import Path
import numpy as np, torch
from training.data.tokens import TokenCache
cache = TokenCache(folder=Path(sys.argv[1]), fingerprint="f" * 64, height=8, width=16)
image, number = np.zeros((8, 16, 3), np.uint8), 0
while True:
    tokens = torch.full((4, 8, 8, 16), number % 2048, dtype=torch.float16)
    cache.write(f"{number % 50}", False, image, tokens)
    number += 1
    if number == 55:
        print("busy", flush=True)
"""


def test_killing_the_writer_at_any_moment_leaves_only_whole_entries(tmp_path):
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    for delay_s in (0.0, 0.013):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, env=environment
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(delay_s)
            writer.send_signal(signal.SIGKILL)
    cache = TokenCache(folder=tmp_path, fingerprint="f" * 64, height=8, width=16)
    image = np.zeros((8, 16, 3), np.uint8)
    entries = [cache.read(str(number), False, image) for number in range(50)]
    assert all(len(entry.unique()) == 1 and entry.shape == (4, 8, 8, 16) for entry in entries)


def ramp(rows=4, columns=8):
    """Tokens that say where they are: x in one channel, y in the other, 0 to 1 over the image."""
    y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
    return torch.from_numpy(np.stack([x, y])[None]).half()


def test_a_crops_tokens_are_those_of_its_places():
    crop = Crop(top=0.25, left=0.125, side=0.5)
    cropped = crop_tokens(ramp(), crop, flipped=False)
    assert torch.allclose(cropped[0, 0, 0], (0.125 + 0.5 * (torch.arange(8) + 0.5) / 8).half(), atol=2e-3)
    assert torch.allclose(cropped[0, 1, :, 0], (0.25 + 0.5 * (torch.arange(4) + 0.5) / 4).half(), atol=2e-3)


def test_of_a_mirrored_image_it_is_the_mirrored_part():
    crop = Crop(top=0.25, left=0.125, side=0.5)
    straight = crop_tokens(ramp(), crop, flipped=False)
    mirrored = crop_tokens(ramp().flip(-1), crop, flipped=True)
    assert torch.allclose(mirrored, straight.flip(-1), atol=2e-3)


def test_the_whole_image_keeps_its_tokens():
    tokens = torch.randn(2, 3, 4, 8).half()
    assert torch.equal(crop_tokens(tokens, Crop(top=0, left=0, side=1), flipped=False), tokens)
