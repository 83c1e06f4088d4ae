import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from model.folded import fold_batch_norms
from tests.model.networks import lively


def stirred(network: nn.Module) -> nn.Module:
    """Give batch norms statistics and weights that do something."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.eval()


@pytest.mark.parametrize("name", ["tiny", "tiny-teacher"])
def test_a_folded_network_has_no_batch_norm_left_and_is_the_same_function(name: str) -> None:
    network = stirred(lively(name).deployed()).double()
    image = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        expected = network(image)
    norms = sum(isinstance(module, _BatchNorm) for module in network.modules())
    assert fold_batch_norms(network, image[:1]) == norms > 30
    assert not any(isinstance(module, _BatchNorm) for module in network.modules())
    with torch.inference_mode():
        torch.testing.assert_close(network(image), expected, rtol=1e-9, atol=0)


class Shared(nn.Module):
    """Its convolution is read twice: by the batch norm, and as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm, self.other = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.convolution(image)
        mixed: torch.Tensor = self.norm(features) + self.other(features)
        return mixed


class Twice(nn.Module):
    """One convolution for two batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        twice: torch.Tensor = self.second(self.convolution(self.first(self.convolution(image))))
        return twice


@pytest.mark.parametrize("kind", [Shared, Twice])
def test_a_batch_norm_whose_convolution_serves_others_too_stays(kind: type[nn.Module]) -> None:
    network, image = stirred(kind()), torch.rand(1, 3, 8, 8)
    expected = network(image)
    assert fold_batch_norms(network, image) == 0
    assert torch.equal(network(image), expected)


def test_an_activation_in_a_batch_norm_remains() -> None:
    network = stirred(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), BatchNormAct2d(4)))
    image = torch.rand(1, 3, 8, 8)
    expected = network(image)
    assert fold_batch_norms(network, image) == 1
    torch.testing.assert_close(network(image), expected)
    assert bool((network(image) == 0).any())


def test_a_network_in_training_mode_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(ValueError, match="training mode"):
        fold_batch_norms(network, torch.rand(1, 3, 8, 8))
