import torch
from torch import nn

from model.decoder import DepthOutput
from training.networks.teacher import Teacher, TeacherConfig


class Brightness(nn.Module):
    """Sees near what is bright, and counts how many images it was shown."""

    def __init__(self):
        super().__init__()
        self.shown = 0

    def forward(self, image):
        self.shown += len(image)
        bright = image.mean(dim=1, keepdim=True)
        return DepthOutput(disparities=(bright,), features=(bright.repeat(1, 2, 1, 1),), category_logits=None)


def teacher(memory_gib, features=True):
    network = Brightness()
    return Teacher(network, TeacherConfig(memory_gib=memory_gib), features=features), network


def images(count):
    return torch.rand(count, 3, 4, 6, generator=torch.Generator().manual_seed(count))


def test_an_image_is_asked_for_only_once():
    asked, network = teacher(1.0)
    pair = images(2)
    first = asked(pair, None)
    again = asked(pair.flip(0), None)
    assert network.shown == 2
    assert torch.equal(first.disparity, again.disparity.flip(0))
    assert torch.equal(first.features[0], again.features[0].flip(0))


def test_what_is_remembered_is_exactly_what_would_be_computed():
    asked, _ = teacher(1.0)
    fresh, _ = teacher(1.0)
    pair = images(2)
    asked(pair[:1], None)
    assert torch.equal(asked(pair, None).disparity, fresh(pair, None).disparity)


def test_answers_are_right_to_half_precision():
    asked, _ = teacher(1.0)
    torch.testing.assert_close(
        asked(images(2), None).disparity, images(2).mean(dim=1, keepdim=True), rtol=1e-3, atol=0
    )


def test_memory_ends_where_it_should_and_then_answers_are_computed():
    asked, network = teacher(100 / 2**30)  # one disparity map of 24 pixels is 48 bytes, with features 144
    asked(images(1), None)
    asked(images(1), None)
    assert network.shown == 2


def test_features_are_kept_only_where_they_are_wanted():
    asked, _ = teacher(1.0, features=False)
    assert asked(images(1), None).features == ()


def test_without_memory_images_are_asked_together_and_anew():
    asked, network = teacher(0.0)
    asked(images(2), None)
    asked(images(2), None)
    assert network.shown == 4


def test_remembered_answers_are_joined_under_autocast_too():
    asked, _ = teacher(1.0)
    with torch.autocast("cpu", torch.bfloat16):
        answer = asked(images(2), None)
    assert answer.disparity.dtype == torch.float32
    assert answer.disparity.shape == (2, 1, 4, 6)
