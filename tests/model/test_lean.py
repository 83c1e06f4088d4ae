import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.decoder import DecoderStage
from model.lean import LeanLastStage, lean
from tests.model.networks import lively

EXACT = 3e-7
"""Both compute in double precision here, and answer in single: they may round an answer differently."""


def image_for(network, images=2):
    generator = torch.Generator().manual_seed(0)
    size = (images, 3, network.config.height, network.config.width)
    return torch.rand(size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", ["tiny", "tiny-teacher", "student"])
def test_a_lean_network_answers_what_the_network_answers_at_every_pixel(name):
    size = {"height": 64, "width": 96} if name == "student" else {}
    network = lively(name, **size).double().deployed()
    image = image_for(network)
    with torch.inference_mode():
        asked, answered = network(image), lean(network)(image)
    assert answered.shape == asked.shape
    assert asked.std() > 1e-3
    assert ((answered - asked).abs() / asked).max() < EXACT


def test_a_lean_network_leaves_the_network_as_it_was():
    network = lively("tiny").deployed()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lean(network)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def multiplications(network, image):
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(image)
    return counter.get_total_flops()


def test_the_decoder_of_a_lean_student_multiplies_a_quarter_less():
    network = lively("student", height=64, width=96).deployed()
    image = image_for(network, images=1).float()
    encoder = multiplications(network.network.geometry, image)
    plain = multiplications(network, image) - encoder
    # Of a strided transposed convolution torch counts what reaches the output, as of any other.
    assert multiplications(lean(network), image) - encoder < 0.75 * plain


def test_a_last_stage_with_a_skip_connection_is_refused():
    stage, head = DecoderStage(8, 4, 8), nn.Conv2d(8, 1, kernel_size=3, padding=1)
    with pytest.raises(ValueError, match="expected no skip"):
        LeanLastStage(stage, head)


def test_what_is_no_convolution_of_three_taps_is_refused():
    with pytest.raises(ValueError, match="no 3x3 convolution"):
        LeanLastStage(DecoderStage(8, 0, 8), nn.Conv2d(8, 1, kernel_size=1))
