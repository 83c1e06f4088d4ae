import math

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.aggregation import CrossModalAttention, GeometricSemanticAggregation, locality_bias
from model.config import Aggregation

CHANNELS = {2: 4, 4: 4, 8: 6, 16: 8, 32: 10}


@pytest.fixture
def pyramid() -> dict[int, Tensor]:
    return {
        stride: torch.randn(2, channels, 64 // stride, 96 // stride) for stride, channels in CHANNELS.items()
    }


@pytest.fixture
def tokens() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.randn(2, 12, 4, 6),
        torch.randn(2, 12, 4, 6),
        torch.randn(2, 12, 4, 6),
        torch.randn(2, 12, 4, 6),
    )


def aggregation(kind: Aggregation) -> GeometricSemanticAggregation:
    return GeometricSemanticAggregation(
        geometric_channels=CHANNELS, semantic_channels=12, width=8, heads=2, kind=kind
    )


def test_attention_changes_nothing_before_training(
    pyramid: dict[int, Tensor], tokens: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    fused = aggregation("attention")(pyramid, tokens)
    assert all(torch.equal(fused[stride], pyramid[stride]) for stride in CHANNELS)


@pytest.mark.parametrize("kind", ["attention", "concat"])
def test_the_first_gradient_reaches_what_joins_semantics_to_geometry(
    kind: Aggregation, pyramid: dict[int, Tensor], tokens: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    network = aggregation(kind)
    sum(level.square().sum() for level in network(pyramid, tokens).values()).backward()
    for name, parameter in network.named_parameters():
        if "gate" in name or "mix" in name:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_with_its_gates_open_the_answer_depends_on_the_semantics(
    pyramid: dict[int, Tensor], tokens: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    network = aggregation("attention")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "gate" in name:
                parameter.fill_(1.0)
    other = (tokens[0] + 1, tokens[1], tokens[2].roll(1, 3), tokens[3])
    fused, changed = network(pyramid, tokens), network(pyramid, other)
    assert all(not torch.allclose(fused[stride], changed[stride]) for stride in (8, 16, 32))
    assert all(torch.equal(fused[stride], pyramid[stride]) for stride in (2, 4))


def test_attention_runs_in_a_fused_kernel_that_keeps_no_scores(
    pyramid: dict[int, Tensor], tokens: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    network = aggregation("attention")
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # which raises where it would need another
        sum(level.sum() for level in network(pyramid, tokens).values()).backward()


def test_one_level_computes_the_published_formula() -> None:
    level = CrossModalAttention(channels=3, width=4, heads=1)
    geometry, semantics = torch.randn(1, 3, 2, 3), torch.randn(1, 1, 2, 4)
    with torch.no_grad():
        level.attention_gate.fill_(0.5)
        level.feed_forward_gate.fill_(0.25)
    features = geometry.flatten(2).transpose(1, 2)[0]
    tokens = level.semantics_norm(semantics[0, 0])
    query = level.query(level.geometry_norm(features))
    key, value = level.key_value(tokens).split(4, dim=-1)
    scores = query @ key.T / math.sqrt(4) + locality_bias(2, 3, 1, 2, heads=1)[0]
    features = features + 0.5 * level.out(scores.softmax(dim=-1) @ value)
    features = features + 0.25 * level.feed_forward(features)
    expected = features.T.reshape(1, 3, 2, 3)
    torch.testing.assert_close(level(geometry, semantics), expected, rtol=1e-4, atol=1e-5)


def test_the_bias_is_zero_where_query_and_token_meet_and_for_the_head_without_bound() -> None:
    bias = locality_bias(4, 6, 4, 6, heads=4)
    assert torch.equal(bias[0].diagonal(), torch.zeros(24))
    assert torch.equal(bias[3], torch.zeros(24, 24))
    assert (bias[0] < bias[1] - 1e-6).sum() == 24 * 23


def test_the_bias_falls_with_the_square_of_the_distance_in_image_heights() -> None:
    bias = locality_bias(4, 8, 4, 8, heads=1)
    one_down, one_across, two_across = bias[0, 0, 8], bias[0, 0, 1], bias[0, 0, 2]
    assert one_down == pytest.approx(-(0.25**2) / (2 * 0.04**2))
    assert one_across == pytest.approx(float(one_down))
    assert two_across == pytest.approx(4 * float(one_across))


def test_the_bias_is_made_once_for_a_size_and_is_no_part_of_a_checkpoint() -> None:
    attention = CrossModalAttention(channels=6, width=8, heads=2)
    geometry, semantics = torch.randn(1, 6, 2, 3), torch.randn(1, 1, 2, 8)
    attention(geometry, semantics)
    first = attention.locality
    attention(geometry, semantics)
    assert attention.locality is first
    attention(torch.randn(1, 6, 4, 3), semantics)
    assert attention.locality.shape[-2] == 12
    assert "locality" not in attention.state_dict()


def test_a_pass_that_trains_may_follow_one_that_does_not() -> None:
    attention = CrossModalAttention(channels=6, width=8, heads=2)
    geometry, semantics = torch.randn(1, 6, 2, 3), torch.randn(1, 1, 2, 8)
    with torch.inference_mode():
        attention(geometry, semantics)
    attention(geometry, semantics).sum().backward()
    assert attention.attention_gate.grad is not None
