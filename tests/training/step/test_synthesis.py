import dataclasses

import pytest
import torch

from tests.training.worlds import HEIGHT, WIDTH, wall_batch, wall_disparity
from training.losses.config import LossesConfig, SynthesisConfig
from training.losses.reprojection import ReprojectionConfig
from training.step.synthesis import ViewSynthesis, resample


def views(batch, stride=1, learns=None, **reprojection):
    config = LossesConfig(
        synthesis=SynthesisConfig(stride=stride), reprojection=ReprojectionConfig(**reprojection)
    )
    return ViewSynthesis(batch, batch.source_T_target, batch.intrinsics, config, learns)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_true_depth_explains_the_target_and_wrong_depths_do_not(stride):
    judge = views(wall_batch(), stride)
    right = judge(wall_disparity()).explained.loss
    # 8-bit colours and interpolation leave a little.
    assert right.max().item() < 0.02
    for wrong in (0.5, 0.8, 1.25, 2.0):
        assert (judge(wall_disparity(depth_m=6.0 * wrong)).explained.loss > 3 * right).all()


def test_the_gradient_leads_to_the_true_depth_from_both_sides():
    judge = views(wall_batch(), automask="none")
    for depth_m, sign in ((5.5, 1), (6.5, -1)):
        disparity = wall_disparity(depth_m=depth_m).requires_grad_()
        judge(disparity).explained.loss.sum().backward()
        assert disparity.grad.sum().sign().item() == sign


def test_a_disparity_at_a_coarser_scale_is_judged_like_the_full_one():
    judge = views(wall_batch())
    coarse = torch.full((2, 1, HEIGHT // 4, WIDTH // 4), 1 / 6)
    torch.testing.assert_close(judge(coarse).explained.error, judge(wall_disparity()).explained.error)


def test_a_camera_at_rest_teaches_nothing():
    batch = wall_batch()
    still = dataclasses.replace(
        batch,
        sources=batch.image[:, None].expand(-1, 2, -1, -1, -1),
        source_T_target=torch.eye(4).expand(2, 2, 4, 4),
        pose_known=torch.zeros(2, 2, dtype=torch.bool),
    )
    result = views(still)(wall_disparity())
    assert not result.explained.counted.any()
    assert not result.moving.any()


def test_masks_for_unknown_poses_leave_known_ones_alone():
    judge = views(wall_batch(), automask="unknown-pose")
    assert judge(wall_disparity()).explained.counted.float().mean() > 0.99


def test_views_that_do_not_exist_are_not_compared():
    batch = wall_batch()
    none = dataclasses.replace(batch, source_mask=torch.zeros(2, 2, dtype=torch.bool))
    assert views(none)(wall_disparity()).explained.loss.tolist() == [0, 0]


def test_photographs_without_any_view_have_no_loss():
    batch = wall_batch()
    stills = dataclasses.replace(
        batch,
        sources=batch.sources[:, :0],
        source_mask=batch.source_mask[:, :0],
        source_T_target=batch.source_T_target[:, :0],
        pose_known=batch.pose_known[:, :0],
        source_time=batch.source_time[:, :0],
    )
    result = views(stills, stride=2)(wall_disparity())
    assert result.explained.loss.tolist() == [0, 0]
    assert not result.moving.any()


def test_views_whose_depth_does_not_learn_pass_their_gradient_to_the_pose_alone():
    batch = wall_batch()
    pose = batch.source_T_target.clone().requires_grad_()
    config = LossesConfig(synthesis=SynthesisConfig(stride=1))
    judge = ViewSynthesis(batch, pose, batch.intrinsics, config, torch.zeros(2, 2, dtype=torch.bool))
    disparity = wall_disparity(depth_m=5.5).requires_grad_()
    judge(disparity).explained.loss.sum().backward()
    assert disparity.grad is None or disparity.grad.abs().sum() == 0
    assert pose.grad.abs().sum() > 0


def test_resampling_keeps_a_constant_and_averages_when_it_shrinks():
    ramp = torch.arange(8.0).expand(1, 1, 4, 8)
    assert resample(ramp, (2, 4))[0, 0, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert (resample(torch.full((1, 1, 2, 4), 0.3), (4, 8)) == 0.3).all()


def test_what_a_mask_covers_is_compared_in_neither_view():
    batch = wall_batch(1)
    mask = torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.bool)
    mask[..., 40:60] = False
    masked = dataclasses.replace(batch, mask=mask)
    config = LossesConfig(synthesis=SynthesisConfig(stride=1))
    whole, partly = (
        ViewSynthesis(one, one.source_T_target, one.intrinsics, config)(wall_disparity(1)).explained
        for one in (batch, masked)
    )
    assert bool(whole.counted[0, 32, 41])
    assert not partly.counted[..., 40:60].any()
    # The wall moves by four pixels: beside the mask, one view or the other shows it unmasked.
    assert torch.equal(partly.counted[..., :36], whole.counted[..., :36])
    only_next = dataclasses.replace(masked, source_mask=torch.tensor([[False, True]]))
    views = ViewSynthesis(only_next, only_next.source_T_target, only_next.intrinsics, config)
    counted = views(wall_disparity(1)).explained.counted
    assert not counted[..., 60:64].any()
    assert bool(counted[0, 32, 70])
