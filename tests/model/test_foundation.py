import pytest
import torch
from torch import Tensor

from model.config import FoundationConfig, preset
from model.foundation import FoundationEncoder
from model.weights import WeightsError
from tests.assets import shared

TINY = preset("tiny-teacher").foundation
assert TINY is not None


@pytest.fixture(scope="module")
def encoder() -> FoundationEncoder:
    assert TINY is not None
    torch.manual_seed(0)
    return FoundationEncoder(TINY, "random")


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_it_gives_four_grids_of_one_shape(encoder: FoundationEncoder, image: Tensor) -> None:
    assert [grid.shape for grid in encoder(image)] == [(2, 64, 4, 6)] * 4


def test_an_image_that_the_patch_does_not_divide_is_resized_to_the_nearest_grid() -> None:
    dinov2 = FoundationEncoder(FoundationConfig(), "random")
    assert dinov2.token_grid(192, 640) == (14, 46)
    assert dinov2.token_grid(320, 1024) == (23, 73)
    assert dinov2(torch.rand(1, 3, 32, 64))[0].shape == (1, 384, 2, 5)


def test_it_has_nothing_to_train_and_gives_no_gradient(encoder: FoundationEncoder, image: Tensor) -> None:
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder(image.requires_grad_())[3].requires_grad


def test_it_stays_in_evaluation_mode_when_the_network_around_it_trains(encoder: FoundationEncoder) -> None:
    torch.nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())


def test_it_is_a_function_of_the_image_alone(encoder: FoundationEncoder, image: Tensor) -> None:
    once, again = encoder(image), encoder(image)
    alone = encoder(image[1:])
    for first, second, single in zip(once, again, alone, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first[1:], single, rtol=1e-4, atol=1e-4)


def test_settling_on_a_size_changes_nothing_at_that_size(image: Tensor) -> None:
    assert TINY is not None
    encoder = FoundationEncoder(TINY, "random")
    free = encoder(image)
    encoder.fix_size(64, 96)
    for grid, fixed in zip(free, encoder(image), strict=True):
        torch.testing.assert_close(grid, fixed, rtol=1e-4, atol=1e-4)


def test_a_network_without_tokens_is_refused() -> None:
    with pytest.raises((WeightsError, TypeError), match=r"mobilenetv2_100|dynamic_img_size"):
        FoundationEncoder(FoundationConfig(name="mobilenetv2_100"), "random")


def test_a_block_beyond_the_last_is_refused() -> None:
    with pytest.raises(WeightsError, match="'test_vit' has 6 blocks"):
        FoundationEncoder(FoundationConfig(name="test_vit", blocks=(1, 2, 3, 7)), "random")


def test_dinov2_sees_sky_and_road_apart_in_a_real_street() -> None:
    """The tokens of the sky's corner are more like each other than like the road's."""
    import numpy as np
    from PIL import Image

    from model.images import resize_image, to_model_batch

    frame = shared("data/kitti_odometry/sequences/04/image_2/000000.jpg")
    encoder = FoundationEncoder(FoundationConfig(), shared("weights/dinov2_vits14_fp16.safetensors"))
    pixels = resize_image(np.asarray(Image.open(frame).convert("RGB")), 192, 640)
    deepest = encoder(torch.from_numpy(to_model_batch([pixels], 192, 640)))[3][0]
    tokens = torch.nn.functional.normalize(deepest, dim=0)
    sky, road = tokens[:, 0, 21:25], tokens[:, 12, 20:26]
    assert (sky.T @ sky).mean() > (sky.T @ road).mean() + 0.2
    assert (road.T @ road).mean() > (sky.T @ road).mean() + 0.2
