"""The losses by which a student learns from its teacher."""

import math

import pytest
import torch

from training.losses.category_alignment import (
    CategoryAlignmentConfig,
    category_alignment,
    category_logits,
    log_centres,
)
from training.losses.depth_imitation import DepthImitationConfig, affine_imitation, depth_imitation, trusted
from training.losses.feature_imitation import FeatureProjections, feature_imitation
from training.losses.reprojection import Explained
from training.losses.scale_alignment import (
    ScaleAlignmentConfig,
    aligned_log_depth,
    log_median_depth,
    scale_alignment,
)


def depths(*values):
    """Disparity of a row of pixels at these depths."""
    return 1 / torch.tensor(values)[None, None, None]


def explained(error, counted=True):
    return Explained(error=torch.full((1, 1, 1), error), counted=torch.full((1, 1, 1), counted))


def test_the_median_depth_is_that_of_the_middle_pixel():
    assert log_median_depth(depths(1.0, 2.0, 90.0)).exp().item() == pytest.approx(2)


def test_scales_apart_by_a_factor_cost_its_logarithm():
    loss = scale_alignment(depths(2.0, 4.0, 9.0), depths(1.0, 2.0, 3.0))
    assert loss.item() == pytest.approx(math.log(2))


def test_median_alignment_makes_depths_apart_by_a_factor_equal():
    config = ScaleAlignmentConfig(mode="median")
    ours = aligned_log_depth(depths(1.0, 2.0, 3.0), config)
    theirs = aligned_log_depth(depths(10.0, 20.0, 30.0), config)
    torch.testing.assert_close(ours, theirs)


def test_shared_scale_leaves_depths_as_they_are():
    aligned = aligned_log_depth(depths(1.0, 2.0), ScaleAlignmentConfig(mode="shared"))
    assert aligned.exp().flatten().tolist() == pytest.approx([1, 2])


def test_centres_are_evenly_spaced_in_log_depth_from_the_nearest_to_the_farthest():
    centres = log_centres(3, CategoryAlignmentConfig(nearest=0.1, farthest=10.0))
    assert centres.exp().tolist() == pytest.approx([0.1, 1, 10])


@pytest.mark.parametrize("student", ["depth", "head"])
@pytest.mark.parametrize("ordinal", [False, True])
def test_equal_categories_cost_nothing(student, ordinal):
    config = CategoryAlignmentConfig(student=student, ordinal=ordinal)
    log_depth = torch.tensor([0.0, 1.0])[None, None, None]
    loss = category_alignment(category_logits(log_depth, 16, config), log_depth, config)
    assert loss.item() == pytest.approx(0, abs=1e-7)


def test_two_categories_give_the_divergence_of_two_coins():
    # Centres 1/e and e, tau 1: at log depth z the odds are exp(2z) for -1 < z < 1.
    config = CategoryAlignmentConfig(student="depth", tau=1.0, nearest=1 / math.e, farthest=math.e)
    ours, theirs = torch.tensor(0.0).reshape(1, 1, 1, 1), torch.tensor(0.5).reshape(1, 1, 1, 1)
    far = math.e / (1 + math.e)
    expected = far * math.log(far / 0.5) + (1 - far) * math.log((1 - far) / 0.5)
    loss = category_alignment(category_logits(ours, 2, config), theirs, config)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_tau_squared_weighs_the_divergence_of_depths_but_not_that_of_the_head():
    log_depth, logits = torch.zeros(1, 1, 1, 1), torch.randn(1, 4, 1, 1)
    head = category_alignment(logits, log_depth, CategoryAlignmentConfig(student="head", tau=0.5))
    depth = category_alignment(logits, log_depth, CategoryAlignmentConfig(student="depth", tau=0.5))
    assert depth.item() == pytest.approx(0.25 * head.item())


def test_the_ordinal_form_charges_distant_categories_more_than_neighbours():
    config = CategoryAlignmentConfig(ordinal=True, tau=0.01, nearest=0.1, farthest=10.0)
    sure = 50 * torch.eye(5)[:, :, None, None]
    middle = torch.zeros(1, 1, 1, 1)
    near, far = (category_alignment(sure[index : index + 1], middle, config).item() for index in (1, 0))
    # The cumulative distributions differ at one step of five, or at two.
    assert (near, far) == pytest.approx((1 / 5, 2 / 5))


def test_the_teacher_learns_nothing_from_categories():
    teacher = torch.zeros(1, 1, 1, 1, requires_grad=True)
    loss = category_alignment(torch.randn(1, 4, 1, 1, requires_grad=True), teacher, CategoryAlignmentConfig())
    loss.sum().backward()
    assert teacher.grad is None


def test_features_that_point_the_same_way_cost_nothing_whatever_their_length():
    features = (torch.randn(2, 8, 3, 4), torch.randn(2, 4, 6, 8))
    loss = feature_imitation(tuple(3 * feature for feature in features), features)
    torch.testing.assert_close(loss, torch.zeros(2), atol=1e-6, rtol=0)


def test_opposite_features_cost_2_and_perpendicular_ones_1():
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    east, north = east[None, :, None, None], north[None, :, None, None]
    assert feature_imitation((-east,), (east,)).item() == pytest.approx(2)
    assert feature_imitation((north,), (east,)).item() == pytest.approx(1)


def test_projections_turn_student_channels_into_teacher_channels():
    project = FeatureProjections((3, 2), (5, 4))
    shapes = [tuple(level.shape) for level in project((torch.rand(1, 3, 2, 2), torch.rand(1, 2, 4, 4)))]
    assert shapes == [(1, 5, 2, 2), (1, 4, 4, 4)]


def test_depth_apart_by_a_factor_costs_its_logarithm_and_no_edges():
    ours, theirs = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.7)
    kept = torch.ones(1, 1, 4, 4)
    assert depth_imitation(ours, theirs, kept, DepthImitationConfig()).item() == pytest.approx(0.7)


def test_a_missed_edge_costs_its_height_at_every_scale_that_sees_it():
    theirs = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 4, 4)
    kept = torch.ones(1, 1, 4, 4)
    config = DepthImitationConfig(gradient_weight=1.0, gradient_scales=2)
    # |difference| is 1/2 on average; of the steps along a row one in three is 1, and at stride 2 one in one.
    expected = 1 / 2 + (1 / 3 + 1) / 2
    assert depth_imitation(torch.zeros(1, 1, 4, 4), theirs, kept, config).item() == pytest.approx(expected)


def test_pixels_that_are_not_kept_count_for_nothing():
    theirs = torch.tensor([5.0, 1.0])[None, None, None]
    kept = torch.tensor([0.0, 1.0])[None, None, None]
    assert depth_imitation(torch.zeros(1, 1, 1, 2), theirs, kept, DepthImitationConfig()).item() == 1


@pytest.mark.parametrize(
    ("student", "teacher", "kept"),
    [
        (explained(0.10), explained(0.05), True),
        (explained(0.10), explained(0.105), True),
        (explained(0.10), explained(0.30), False),
        (explained(0.10, counted=False), explained(0.30), True),
        (explained(0.10), explained(0.30, counted=False), True),
    ],
)
def test_the_teacher_is_followed_unless_its_depth_explains_the_images_clearly_worse(student, teacher, kept):
    assert trusted(student, teacher, DepthImitationConfig(margin=0.01)).item() is kept


def test_features_in_bfloat16_are_projected_in_float32():
    """A network under autocast gives bfloat16 features, while the projections' weights are float32."""
    projections = FeatureProjections([3], [5])
    features = torch.randn(1, 3, 4, 4)
    (half,) = projections((features.bfloat16(),))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, projections((features,))[0], rtol=0.05, atol=0.05)


def random_disparity(seed):
    return torch.rand(2, 1, 8, 12, generator=torch.Generator().manual_seed(seed)) + 0.1


ALL = torch.ones(2, 1, 8, 12)


def test_disparities_apart_by_a_factor_and_a_shift_are_alike():
    disparity = random_disparity(0)
    loss = affine_imitation(0.3 * disparity + 2, disparity, ALL, DepthImitationConfig())
    torch.testing.assert_close(loss, torch.zeros(2), atol=1e-5, rtol=0)


def test_a_flat_disparity_gains_nothing_over_a_wrong_one():
    wanted, config = random_disparity(0), DepthImitationConfig(gradient_weight=0.0)
    flat = affine_imitation(torch.full_like(wanted, 0.5), wanted, ALL, config)
    nearly = affine_imitation(wanted + 0.1 * random_disparity(1), wanted, ALL, config)
    torch.testing.assert_close(flat, torch.ones(2), atol=1e-4, rtol=0)
    assert (nearly < 0.5 * flat).all()


def test_pixels_of_which_a_teacher_says_nothing_move_nothing():
    wanted, ours = random_disparity(0), random_disparity(1).requires_grad_()
    weight = (random_disparity(2) > 0.6).float()
    other = torch.where(weight > 0, wanted, 1e6)
    config = DepthImitationConfig()
    loss, same = (affine_imitation(ours, theirs, weight, config) for theirs in (wanted, other))
    torch.testing.assert_close(loss, same)
    loss.sum().backward()
    assert (ours.grad[weight == 0] == 0).all()
    assert (ours.grad[weight > 0] != 0).any()
    nothing = affine_imitation(ours, wanted, torch.zeros_like(wanted), config)
    assert (nothing == 0).all()
