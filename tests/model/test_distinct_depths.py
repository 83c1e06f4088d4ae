"""Depth in bfloat16 is as finely graded as in float32, although bfloat16 has 91 numbers from 8 to 60."""

import torch

from tests.model.networks import lively


def test_a_forward_pass_in_bfloat16_has_more_than_ten_thousand_depths():
    network = lively("student").train()
    image = torch.rand(1, 3, 192, 640, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        disparity = network(image).disparity
    assert disparity.dtype == torch.float32
    assert len(disparity.unique()) > 10_000
