import dataclasses

import pytest
import torch

from model.metadata import LearnedCamera
from tests.training.worlds import HEIGHT, WIDTH, wall_batch, wall_disparity
from training.config import TrainConfig
from training.losses.config import LossesConfig, SynthesisConfig
from training.networks.intrinsics import IntrinsicsConfig, LearnedIntrinsics
from training.step.synthesis import ViewSynthesis

CAMERA = (LearnedCamera(name="phone", fx_per_width=0.625, fy_per_height=0.9375),)
KNOWN, UNKNOWN = torch.tensor([True, True]), torch.tensor([False, False])


def test_nothing_is_corrected_at_first():
    batch = wall_batch()
    learned = LearnedIntrinsics(IntrinsicsConfig(), CAMERA)(batch.intrinsics, UNKNOWN, HEIGHT, WIDTH)
    assert torch.equal(learned, batch.intrinsics)


def test_focal_lengths_are_multiplied_and_the_principal_point_stays():
    camera = LearnedIntrinsics(IntrinsicsConfig(), CAMERA)
    camera.log_focal.data.fill_(torch.tensor(2.0).log())
    learned = camera(wall_batch().intrinsics, UNKNOWN, HEIGHT, WIDTH)[0]
    torch.testing.assert_close(learned, torch.tensor([[120.0, 0, 48], [0, 120, 32], [0, 0, 1]]))


def test_the_principal_point_moves_by_a_share_of_the_image():
    camera = LearnedIntrinsics(IntrinsicsConfig(principal_point=True), CAMERA)
    camera.shift.data.copy_(torch.tensor([[0.25, -0.5]]))
    learned = camera(wall_batch().intrinsics, UNKNOWN, HEIGHT, WIDTH)[0]
    torch.testing.assert_close(learned, torch.tensor([[60.0, 0, 72], [0, 60, 0], [0, 0, 1]]))


def test_known_cameras_are_left_alone():
    camera = LearnedIntrinsics(IntrinsicsConfig(), CAMERA)
    camera.log_focal.data.fill_(1.0)
    batch = wall_batch()
    learned = camera(batch.intrinsics, torch.tensor([True, False]), HEIGHT, WIDTH)
    assert torch.equal(learned[0], batch.intrinsics[0])
    assert learned[1, 0, 0] > batch.intrinsics[1, 0, 0]


def test_pixels_that_are_not_square_have_two_focal_factors():
    assert LearnedIntrinsics(IntrinsicsConfig(square_pixels=False), CAMERA).focal_factor.shape == (1, 2)


@pytest.mark.parametrize("guess", [0.75, 1.3])
def test_a_wrong_guess_is_corrected_by_view_synthesis_to_within_five_percent(guess):
    # The wall at its true depth moves by f t / z: only the true focal length explains by how much.
    batch = wall_batch()
    guessed = batch.intrinsics * torch.tensor([guess, guess, 1.0])[:, None]
    guessed[:, :2, 2] = batch.intrinsics[:, :2, 2]
    batch = dataclasses.replace(batch, intrinsics=guessed)
    camera = LearnedIntrinsics(IntrinsicsConfig(), CAMERA)
    optimizer = torch.optim.Adam(camera.parameters(), lr=0.03)
    config = LossesConfig(synthesis=SynthesisConfig(stride=1))
    for _ in range(40):
        optimizer.zero_grad()
        learned = camera(batch.intrinsics, UNKNOWN, HEIGHT, WIDTH)
        views = ViewSynthesis(batch, batch.source_T_target, learned, config)
        views(wall_disparity()).explained.loss.sum().backward()
        optimizer.step()
    assert guess * camera.focal_factor.item() == pytest.approx(1, abs=0.05)


def test_one_principal_point_is_not_learned_from_mirrored_samples():
    with pytest.raises(ValueError, match="principal_point is True"):
        TrainConfig(intrinsics=IntrinsicsConfig(principal_point=True))


def test_each_camera_has_its_own_corrections():
    others = (*CAMERA, dataclasses.replace(CAMERA[0], name="dash"))
    camera = LearnedIntrinsics(IntrinsicsConfig(), others)
    camera.log_focal.data[1] = torch.tensor(2.0).log()
    batch = wall_batch()
    learned = camera(batch.intrinsics, UNKNOWN, HEIGHT, WIDTH, torch.tensor([1, 0]))
    assert learned[:, 0, 0].tolist() == pytest.approx([120, 60])
    assert [one.fx_per_width for one in camera.learned()] == pytest.approx([0.625, 1.25])
    assert camera.learned()[0].fov_deg == pytest.approx(77.3, abs=0.1)
