"""Analytic geometry: answers that can be computed in the head."""

import pytest
import torch

from training.geometry import (
    backproject,
    invert_rigid,
    pixel_centres,
    project,
    resize_intrinsics,
    sampling_grid,
    warp,
)

HEIGHT, WIDTH, FOCAL = 8, 12, 10.0


def intrinsics(batch=1, dtype=torch.float32, focal=FOCAL):
    matrix = torch.tensor([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]], dtype=dtype)
    return matrix.expand(batch, 3, 3).contiguous()


def move(x=0.0, y=0.0, z=0.0, dtype=torch.float32):
    pose = torch.eye(4, dtype=dtype)
    pose[:3, 3] = torch.tensor([x, y, z], dtype=dtype)
    return pose[None, None]


def flat(depth, dtype=torch.float32):
    return torch.full((1, 1, HEIGHT, WIDTH), 1 / depth, dtype=dtype)


def image(dtype=torch.float32, views=1):
    return torch.rand(1, views, 3, HEIGHT, WIDTH, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_the_first_pixels_centre_is_half_a_pixel_from_both_edges():
    x, y = pixel_centres(2, 3, torch.zeros(1))
    assert x.tolist() == [0.5, 1.5, 2.5]
    assert y.tolist() == [0.5, 1.5]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-13)])
def test_the_identity_pose_returns_the_image_exactly_at_any_depth(dtype, tolerance):
    source = image(dtype)
    disparity = torch.rand(1, 1, HEIGHT, WIDTH, dtype=dtype) + 0.01
    warped = warp(source, disparity, intrinsics(dtype=dtype), move(dtype=dtype))
    torch.testing.assert_close(warped.images, source, atol=tolerance, rtol=0)
    assert warped.valid.all()


def test_a_known_translation_shifts_by_focal_times_t_over_z_pixels():
    source = image(torch.float64)
    # 10 px * 0.5 / 2.5 = 2 px: the target's column j shows the source's column j + 2.
    warped = warp(
        source, flat(2.5, torch.float64), intrinsics(dtype=torch.float64), move(x=0.5, dtype=torch.float64)
    )
    torch.testing.assert_close(warped.images[..., :-2], source[..., 2:])
    assert warped.valid[..., :-2].all()
    assert not warped.valid[..., -2:].any()


def test_outside_the_source_the_border_is_repeated_and_not_valid():
    source = image(torch.float64)
    warped = warp(
        source, flat(2.5, torch.float64), intrinsics(dtype=torch.float64), move(x=0.5, dtype=torch.float64)
    )
    torch.testing.assert_close(warped.images[..., -2:], source[..., -1:].expand(-1, -1, -1, -1, 2))


def test_moving_forward_magnifies_about_the_principal_point():
    # z = 4 becomes 2 after 2 units forward: distances from the centre double.
    grid = sampling_grid(flat(4.0), intrinsics(), move(z=-2.0))
    x, y = pixel_centres(HEIGHT, WIDTH, torch.zeros(1))
    expected_x = (2 * (x - WIDTH / 2)) / (WIDTH / 2)
    expected_y = (2 * (y - HEIGHT / 2)) / (HEIGHT / 2)
    torch.testing.assert_close(grid.places[0, 0, 0, :, 0], expected_x)
    torch.testing.assert_close(grid.places[0, 0, :, 0, 1], expected_y)


def test_points_behind_the_source_camera_are_not_valid_and_give_no_nan():
    disparity = flat(4.0).requires_grad_()
    warped = warp(image(), disparity, intrinsics(), move(z=-5.0))
    assert not warped.valid.any()
    warped.images.sum().backward()
    assert torch.isfinite(warped.images).all()
    assert torch.isfinite(disparity.grad).all()


def test_a_rotation_moves_every_pixel_alike_whatever_its_depth():
    angle = torch.tensor(0.1, dtype=torch.float64)
    pose = move(dtype=torch.float64).clone()
    pose[0, 0, :3, :3] = torch.tensor(
        [[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]], dtype=torch.float64
    )
    near = sampling_grid(flat(1.0, torch.float64), intrinsics(dtype=torch.float64), pose)
    far = sampling_grid(flat(90.0, torch.float64), intrinsics(dtype=torch.float64), pose)
    torch.testing.assert_close(near.places, far.places)


def test_a_plane_at_known_depth_backprojects_to_points_at_that_depth():
    points = backproject(torch.full((1, 1, HEIGHT, WIDTH), 7.0), intrinsics())
    assert (points[:, 2] == 7).all()
    # Column 11's centre is 5.5 px right of the axis: x = 5.5 / 10 * 7.
    assert points[0, 0, 3, 11].item() == pytest.approx(3.85)


def test_a_ground_plane_has_depth_focal_times_height_over_rows_below_the_horizon():
    _, y = pixel_centres(HEIGHT, WIDTH, torch.zeros(1))
    below = y[HEIGHT // 2 :] - HEIGHT / 2
    depth = (FOCAL * 1.65 / below)[None, None, :, None].expand(1, 1, -1, WIDTH)
    lower = intrinsics().clone()
    lower[:, 1, 2] = 0.0
    points = backproject(depth.contiguous(), lower)
    torch.testing.assert_close(points[:, 1], torch.full_like(points[:, 1], 1.65))


def test_projection_undoes_backprojection():
    depth = torch.rand(2, 1, HEIGHT, WIDTH) * 50 + 1
    places, seen_depth = project(backproject(depth, intrinsics(2)), intrinsics(2))
    x, y = pixel_centres(HEIGHT, WIDTH, torch.zeros(1))
    torch.testing.assert_close(places[:, 0], x.expand(2, HEIGHT, WIDTH), atol=1e-4, rtol=0)
    torch.testing.assert_close(places[:, 1], y[:, None].expand(2, HEIGHT, WIDTH), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen_depth, depth)


def test_the_folded_grid_agrees_with_points_moved_one_by_one():
    generator = torch.Generator().manual_seed(3)
    disparity = torch.rand(2, 1, HEIGHT, WIDTH, dtype=torch.float64, generator=generator) + 0.1
    rotation = torch.linalg.matrix_exp(
        torch.tensor([[0, -0.1, 0.05], [0.1, 0, -0.02], [-0.05, 0.02, 0]], dtype=torch.float64)
    )
    pose = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1, 1)
    pose[..., :3, :3], pose[..., :3, 3] = rotation, torch.tensor([0.2, -0.1, 0.3], dtype=torch.float64)
    camera = intrinsics(2, torch.float64)
    points = backproject(1 / disparity, camera)
    moved = torch.einsum("ij,bjhw->bihw", rotation, points) + pose[:, 0, :3, 3, None, None]
    places, _ = project(moved, camera)
    grid = sampling_grid(disparity, camera, pose)
    torch.testing.assert_close((grid.places[:, 0, ..., 0] + 1) * WIDTH / 2, places[:, 0])
    torch.testing.assert_close((grid.places[:, 0, ..., 1] + 1) * HEIGHT / 2, places[:, 1])


def test_resized_intrinsics_see_the_same_rays():
    doubled = resize_intrinsics(intrinsics(), 2.0, 2.0)
    assert doubled[0].tolist() == [[20, 0, 12], [0, 20, 8], [0, 0, 1]]


def test_each_view_has_its_own_pose():
    source = image(torch.float64).expand(1, 2, -1, -1, -1)
    poses = torch.cat((move(dtype=torch.float64), move(x=0.5, dtype=torch.float64)), dim=1)
    warped = warp(source, flat(2.5, torch.float64), intrinsics(dtype=torch.float64), poses)
    torch.testing.assert_close(warped.images[:, 0], source[:, 0])
    torch.testing.assert_close(warped.images[:, 1, ..., :-2], source[:, 1, ..., 2:])


def test_a_move_and_its_inverse_give_the_identity():
    pose = move(x=1.0, y=2.0, z=3.0, dtype=torch.float64).clone()
    pose[0, 0, :3, :3] = torch.linalg.matrix_exp(
        torch.tensor([[0, -0.3, 0.2], [0.3, 0, -0.1], [-0.2, 0.1, 0]], dtype=torch.float64)
    )
    torch.testing.assert_close(pose @ invert_rigid(pose), torch.eye(4, dtype=torch.float64)[None, None])


def test_warping_passes_gradcheck_for_disparity_pose_and_intrinsics():
    generator = torch.Generator().manual_seed(1)
    source = torch.rand(1, 2, 1, 4, 5, dtype=torch.float64, generator=generator)
    disparity = torch.rand(1, 1, 4, 5, dtype=torch.float64, generator=generator) * 0.2 + 0.3
    camera = torch.tensor([[[5.0, 0, 2.5], [0, 5.0, 2.0], [0, 0, 1]]], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64).repeat(1, 2, 1, 1)
    pose[0, :, :3, 3] = torch.tensor([[0.21, 0.05, 0.13], [-0.17, 0.03, -0.11]], dtype=torch.float64)
    inputs = (disparity.requires_grad_(), camera.requires_grad_(), pose.requires_grad_())
    assert torch.autograd.gradcheck(lambda d, k, t: warp(source, d, k, t).images, inputs, atol=1e-6)
