import numpy as np
import torch

from tests.training.worlds import HEIGHT, INTRINSICS, STEP_M, WALL_M, WIDTH, WallWorld, sideways
from training.hints.plane_sweep import UNSEEN, cost_volume

DISPARITIES = [1 / 12, 1 / 9, 1 / WALL_M, 1 / 4, 1 / 3]
TRUE_PLANE = 2


def grey(image):
    return torch.from_numpy(image.astype(np.float32).mean(axis=2) / 255)[None]


def swept(*, poses, images):
    sample = WallWorld()[0]
    return cost_volume(
        grey(sample.image),
        torch.stack([grey(image) for image in images]),
        torch.from_numpy(INTRINSICS),
        torch.from_numpy(np.stack(poses)),
        DISPARITIES,
    )


def test_the_walls_own_plane_explains_it_best():
    sources = WallWorld()[0].sources
    cost = swept(poses=[view.source_T_target for view in sources], images=[view.image for view in sources])
    assert cost.shape == (HEIGHT, WIDTH, len(DISPARITIES))
    assert (cost.argmin(axis=2) == TRUE_PLANE).all()
    assert cost[..., TRUE_PLANE].max() < 0.02


def test_a_view_that_shows_something_else_is_outvoted():
    views = WallWorld()[0].sources
    unrelated = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    poses = [views[0].source_T_target, views[1].source_T_target, sideways(STEP_M)]
    cost = swept(poses=poses, images=[views[0].image, views[1].image, unrelated])
    inner = cost[:, 12:-12]
    assert (inner.argmin(axis=2) == TRUE_PLANE).all()


def test_where_nobody_looks_the_cost_is_that_of_a_unrelated():
    away = sideways(1000.0)
    cost = swept(poses=[away], images=[WallWorld()[0].image])
    assert (cost == UNSEEN).all()
