import numpy as np
import pytest
import torch

from model.checkpoint import save_checkpoint
from model.images import resize_image, to_model_batch
from model.metadata import CheckpointMetadata, DepthScale
from model.predictor import Predictor
from tests.model.networks import lively


@pytest.fixture(scope="module")
def student():
    return lively("tiny")


@pytest.fixture(scope="module")
def predictor(student):
    return Predictor(student, batch_size=2)


def blobs(height, width, seed=0):
    """A smooth image of random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return resize_image(coarse, height, width)


def test_depth_has_each_images_own_size_and_is_positive(predictor):
    sizes = [(375, 1242), (64, 96), (31, 17), (1, 1), (200, 100)]
    depths = predictor.predict([blobs(*size) for size in sizes])
    assert [depth.shape for depth in depths] == sizes
    assert {depth.dtype for depth in depths} == {np.dtype(np.float32)}
    assert all(depth.min() >= 0.1 and depth.max() <= 100.0 for depth in depths)


def test_no_images_give_no_depths(predictor):
    assert predictor.predict([]) == []


def test_at_the_networks_size_depth_is_one_over_the_disparity_of_the_network_that_was_given(
    predictor, student
):
    image = blobs(64, 96)
    with torch.no_grad():
        pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None] / 255
        disparity = student(pixels).disparity[0, 0].numpy()
    assert np.allclose(predictor.predict([image])[0], 1 / disparity, rtol=1e-5)


def test_a_batch_gives_what_each_image_gives_alone(predictor):
    images = [blobs(64, 96, seed) for seed in range(5)]
    together = predictor.predict(images)
    for image, depth in zip(images, together, strict=True):
        assert np.allclose(predictor.predict([image])[0], depth, rtol=1e-5)
    assert np.abs(together[0] - together[1]).mean() > 0.1, (
        "these images must differ for the test to say anything"
    )


def test_a_metric_scale_multiplies_depth(student, predictor):
    image = blobs(50, 70)
    metric = Predictor(student, DepthScale(unit="metre", metres_per_unit=5.0))
    assert np.allclose(metric.predict([image])[0], 5 * predictor.predict([image])[0], rtol=1e-6)


def test_a_checkpoint_predicts_as_the_network_that_was_saved_in_the_checkpoints_unit(
    student, predictor, tmp_path
):
    metadata = CheckpointMetadata(config=student.config, scale=DepthScale(unit="metre", metres_per_unit=2.0))
    save_checkpoint(tmp_path / "a", student, metadata)
    loaded = Predictor.from_checkpoint(tmp_path / "a")
    image = blobs(50, 70)
    assert np.allclose(loaded.predict([image])[0], 2 * predictor.predict([image])[0], rtol=1e-6)
    assert loaded.scale == metadata.scale


def test_training_may_go_on_with_the_network_without_changing_the_predictions():
    network = lively("tiny")
    predictor = Predictor(network)
    image = blobs(64, 96)
    before = predictor.predict([image])[0]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert np.array_equal(predictor.predict([image])[0], before)


def test_another_size_of_the_network_is_a_matter_of_its_construction():
    predictor = Predictor(lively("tiny-teacher"), height=32, width=128)
    assert predictor.disparity(to_model_batch([blobs(10, 20)], 32, 128)).shape == (1, 32, 128)
    with pytest.raises(ValueError, match="height is 33"):
        Predictor(lively("tiny"), height=33)


def test_bfloat16_differs_from_float32_by_its_rounding_and_no_more(student, predictor):
    image = blobs(64, 96)
    rough = Predictor(student, bfloat16=True).predict([image])[0]
    error = np.abs(rough / predictor.predict([image])[0] - 1)
    assert 0 < error.mean() < 0.05


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((4, 5, 3), np.float32), r"images\[1\]: an image must be uint8 .*, not float32"),
        (np.zeros((4, 5), np.uint8), r"images\[1\]: .* not \(4, 5\)"),
        (np.zeros((3, 4, 5), np.uint8), r"images\[1\]: .* not \(3, 4, 5\)"),
        (np.zeros((4, 0, 3), np.uint8), r"images\[1\]: .* at least one pixel"),
    ],
)
def test_an_image_that_is_none_is_refused_by_its_number_and_what_it_is(predictor, image, says):
    with pytest.raises(ValueError, match=says):
        predictor.predict([blobs(4, 5), image])


@pytest.mark.parametrize("shape", [(0, 3, 64, 96), (1, 3, 64, 64)])
def test_a_batch_of_another_size_is_refused(predictor, shape):
    with pytest.raises(ValueError, match=r"expected \(1 or more, 3, 64, 96\)"):
        predictor.disparity(np.zeros(shape, np.float32))


def test_a_batch_size_without_room_for_an_image_is_refused(student):
    with pytest.raises(ValueError, match="batch_size is 0"):
        Predictor(student, batch_size=0)
