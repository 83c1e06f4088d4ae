import cv2
import pytest
import torch

from model.config import FoundationConfig, preset
from model.foundation import FoundationEncoder
from model.images import to_model_batch
from tests.assets import shared
from training.networks.semantics import (
    CLASSES,
    SHIPPED_PROBE,
    ProbeError,
    TokenProbe,
    fit_logistic,
    load_probe,
    save_probe,
    shares_in_cells,
)

TINY = FoundationConfig(name="test_vit", blocks=(1, 3, 5, 6))


def probe(weight=0.0):
    made = TokenProbe(TINY, "abc", 2)
    made.weight.fill_(weight)
    return made


def test_a_probe_that_knows_nothing_says_one_half_everywhere():
    grids = tuple(torch.randn(1, 2, 3, 4) for _ in range(4))
    found = probe()(grids)
    assert set(found) == set(CLASSES)
    assert all((grid == 0.5).all() and grid.shape == (1, 1, 3, 4) for grid in found.values())


def test_only_the_deepest_grid_is_looked_at():
    deepest = torch.randn(1, 2, 3, 4)
    one, other = (probe(1.0)((*torch.randn(3, 1, 2, 3, 4), deepest)) for _ in range(2))
    assert torch.equal(one["sky"], other["sky"])


def test_a_fit_separates_classes_that_lie_apart_and_leaves_others_at_their_share():
    tokens = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) * 5 + 20
    apart = (tokens[:, 0] > 20).float()
    always = torch.full((400,), 0.25)
    weight, bias = fit_logistic(tokens, torch.stack((apart, 1 - apart, always), dim=1))
    chances = (tokens @ weight.T + bias).sigmoid()
    assert ((chances[:, 0] > 0.5) == (apart > 0.5)).float().mean() > 0.98
    assert ((chances[:, 1] > 0.5) == (apart < 0.5)).float().mean() > 0.98
    torch.testing.assert_close(chances[:, 2], always, atol=0.02, rtol=0)


def test_a_cells_share_is_the_mean_of_its_mask():
    mask = torch.zeros(1, 4, 4)
    mask[:, :2, :1] = 1
    shares = shares_in_cells(dict.fromkeys(CLASSES, mask), 2, 2)
    assert shares[0, 0].tolist() == [[0.5, 0], [0, 0]]


def test_a_probe_comes_back_from_its_file(tmp_path):
    made = probe(0.3)
    save_probe(made, tmp_path / "probe.safetensors")
    found = load_probe(tmp_path / "probe.safetensors")
    assert torch.equal(found.weight, made.weight)
    assert (found.foundation, found.fingerprint) == (TINY, "abc")


def test_a_file_that_is_no_probe_is_refused_by_its_name(tmp_path):
    with pytest.raises(ProbeError, match="missing"):
        load_probe(tmp_path / "missing.safetensors")


def test_tokens_of_other_weights_are_refused():
    foundation = FoundationEncoder(TINY, "random")
    with pytest.raises(ProbeError, match="fitted on"):
        probe().check(foundation)
    TokenProbe(TINY, foundation.fingerprint, 2).check(foundation)


def test_the_shipped_probe_is_for_the_teachers_foundation_model():
    shipped = load_probe(SHIPPED_PROBE)
    assert shipped.foundation == preset("teacher").foundation
    assert shipped.weight.shape == (3, 384)


def test_the_shipped_probe_knows_sky_and_road_of_a_real_street():
    weights = shared("weights/dinov2_vits14_fp16.safetensors")
    photographs = sorted(shared("data/kitti_odometry/sequences/04/image_2").iterdir())
    image = cv2.imread(str(photographs[20]))[..., ::-1]
    encoder = FoundationEncoder(FoundationConfig(), weights)
    shipped = load_probe(SHIPPED_PROBE)
    shipped.check(encoder)
    found = shipped(encoder(torch.from_numpy(to_model_batch([image], 192, 640))))
    # 14 rows of 46 tokens: the sky is above the road's end, trees and houses to its sides.
    assert found["sky"][0, 0, :3, 20:24].min() > 0.6
    assert found["sky"][0, 0, 7:].max() < 0.3
    assert found["road"][0, 0, -2:, 20:26].min() > 0.9
    assert found["road"][0, 0, :5].max() < 0.3
