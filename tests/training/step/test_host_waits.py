"""On a GPU, the host queues a whole step and waits for nothing; every wait would leave the device idle."""

from dataclasses import replace

import pytest
import torch

from model.config import preset
from tests.fake_cuda import fake_cuda, on_device
from tests.training.worlds import tiny_config, wall_batch
from training.losses.config import LossesConfig, SynthesisConfig
from training.losses.depth_labels import DepthLabelsConfig
from training.networks.pose import PoseConfig
from training.networks.teacher import Teacher, TeacherConfig
from training.step.assembly import Frozen, Networks, build_networks
from training.step.step import training_step

WAITS = (
    "aten._local_scalar_dense.default",
    "aten.nonzero.default",
    "aten._linalg_check_errors.default",
    "aten.is_nonzero.default",
    "aten.equal.default",
    "aten.lift_fresh.default",
    "aten.lift_fresh_copy.default",
)
"""Operations whose result, or whose values from the host, the host waits for."""

LOSSES = LossesConfig(
    synthesis=SynthesisConfig(stride=2, scales=(0, 2)),
    labels=DepthLabelsConfig(weight=0.3, aligned_weight=0.1),
)


def distilling(config):
    networks = build_networks(config, torch.device("cpu"))
    teacher = build_networks(replace(config, model=preset("tiny")), torch.device("cpu")).depth
    asked = Teacher(teacher.requires_grad_(False), TeacherConfig(memory_gib=1.0), features=False)
    return Networks(networks.depth, networks.pose, None, None, Frozen(teacher=asked)), teacher


@pytest.mark.parametrize("poses", [True, False])
@pytest.mark.parametrize("kind", ["student", "teacher", "distilled"])
def test_a_step_on_a_gpu_waits_for_nothing_and_copies_no_constant(kind, poses, tmp_path):
    """Forward: torch's backward pass wants a real device."""
    config = tiny_config(
        tmp_path,
        model=preset("tiny-teacher" if kind == "teacher" else "tiny"),
        losses=LOSSES,
        pose=PoseConfig(channels=(8, 16), supervision=1.0, depth_first_steps=1),
    )
    networks, frozen = build_networks(config, torch.device("cpu")), []
    if kind == "distilled":
        networks, teacher = distilling(config)
        frozen = [teacher]
    networks.train()
    batch = wall_batch(labels=True, poses=poses)
    batch = replace(batch, counted=batch.count())
    with fake_cuda(networks, *frozen) as dispatched:
        on = batch._mapped(on_device)
        dispatched.operators.clear(), dispatched.off_device.clear()
        result = training_step(networks, on, config, 0)
        waits = {name: dispatched.operators[name] for name in WAITS if dispatched.operators[name]}
        assert (waits, dispatched.off_device) == ({}, [])
    expected = {"photometric", "smoothness", "labels"} | ({"pose"} if poses else set())
    assert expected <= set(result.terms)


def test_what_the_loader_counted_is_what_the_device_would_have_been_asked():
    for poses in (True, False):
        batch = wall_batch(poses=poses)
        batch = replace(batch, source_time=torch.tensor([[-1, 1], [0, 1]], dtype=torch.int8))
        counted = batch.count()
        assert counted.moved.tolist() == [[0, 0], [0, 1], [1, 1]]
        assert counted.unknown.tolist() == ([] if poses else [[0, 0], [0, 1], [1, 1]])
        assert counted.every_pose_known is poses
        assert replace(batch, counted=counted).to("cpu").count().moved.tolist() == counted.moved.tolist()
