import hashlib
import json
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.checkpoint import save_checkpoint
from model.config import preset
from model.metadata import CheckpointError, CheckpointMetadata, DepthScale, Parent, read_metadata
from model.network import build
from tests.model.networks import lively
from tests.training.runs import HookedLoader
from tests.training.worlds import FOCAL, HEIGHT, WIDTH, WallWorld, tiny_config
from training.data.augment import NO_AUGMENTATION, AugmentConfig
from training.data.loader import BatchLoader, LoaderConfig
from training.data.mixture import Mixture
from training.judge.protocols.kitti_eigen import garg_crop
from training.loop.distributed import joined
from training.loop.run_log import RunLog
from training.loop.trainer import Trainer
from training.loop.validation import say_validated, validate
from training.losses.config import LossesConfig, SynthesisConfig
from training.losses.depth_labels import DepthLabelsConfig
from training.release.publish import find_parents, fit_scale, publish
from training.step.assembly import build_networks

CPU = torch.device("cpu")


def loader(**world):
    settings = LoaderConfig(
        height=HEIGHT, width=WIDTH, batch_size=3, augment=NO_AUGMENTATION, threads=1, prefetch=1
    )
    return HookedLoader(WallWorld(**world), settings, seed=0)


def student():
    torch.manual_seed(0)
    return build(preset("tiny"), backbone_weights="random").train()


def test_a_network_that_starts_flat_is_right_about_a_wall_but_for_its_scale():
    network = student()
    found = validate(network, loader(), CPU)["none"]
    assert found.frames == 8
    assert found.metrics.abs_rel < 0.05
    # 12 m is where depth starts, 6 m where the wall is.
    assert found.scale == pytest.approx(0.5, rel=0.05)
    assert found.scale_spread < 0.05
    assert network.training


class Slope(WallWorld):
    """A wall whose depth was measured as rising to the right, by so many times; or not at all."""

    def __init__(self, count, steepness):
        super().__init__(count)
        self._steepness = steepness

    @property
    def keys(self):
        return [f"slope {self._steepness}/{index}" for index in range(self._count)]

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        if self._steepness is None:
            return replace(sample, depth_m=None)
        rising = np.linspace(1, self._steepness, WIDTH, dtype=np.float32)
        return replace(sample, depth_m=sample.depth_m * rising)


def test_each_set_counts_the_same_however_many_frames_it_has():
    network = student()
    parts = [Slope(5, 1), Slope(2, None), Slope(1, 6)]
    found = validate(network, loader_of(Mixture(parts)), CPU)["none"]
    alone = [validate(network, loader_of(part), CPU).get("none") for part in parts]
    assert alone[1] is None
    assert found.sets[1] is None
    easy, hard = alone[0].metrics.abs_rel, alone[2].metrics.abs_rel
    assert hard > 4 * easy
    assert [found.sets[0].abs_rel, found.sets[2].abs_rel] == pytest.approx([easy, hard], rel=1e-4)
    assert found.metrics.abs_rel == pytest.approx((easy + hard) / 2, rel=1e-4)
    assert found.frames == 6


class Framed(WallWorld):
    """A wall that is measured as thrice as far outside Garg's crop."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        far = 3 * sample.depth_m
        inside = garg_crop(*far.shape)
        far[inside] = sample.depth_m[inside]
        return replace(sample, depth_m=far)


def test_each_crop_has_its_error_and_one_chooses_the_best(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    found = validate(student(), loader_of(Framed(3)), CPU)
    assert found["garg"].metrics.abs_rel < 0.05 < 0.2 < found["none"].metrics.abs_rel
    say_validated(RunLog(tmp_path, tensorboard=False), 7, found, "garg")
    (line,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert line["abs_rel"] == line["abs_rel_garg"] < line["abs_rel_none"]
    assert re.search(r"step 7: abs_rel 0\.0\d+ within Garg's crop, 0\.\d+ without a crop", caplog.text)


def test_a_crop_in_which_nothing_was_measured_is_said(tmp_path, caplog):
    class Above(WallWorld):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            sample.depth_m[garg_crop(*sample.depth_m.shape)] = 0
            return sample

    caplog.set_level(logging.INFO)
    found = validate(student(), loader_of(Above(3)), CPU)
    assert list(found) == ["none"]
    say_validated(RunLog(tmp_path, tensorboard=False), 7, found, "garg")
    assert "nothing was measured within that crop" in caplog.text


def test_the_unit_is_fitted_to_depth_that_was_measured():
    scale = fit_scale(student(), loader(), CPU, LossesConfig(), batches=2)
    assert scale.unit == "metre"
    assert scale.metres_per_unit == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("poses", "synthesis", "labels", "unit"),
    [
        (True, 1.0, 0.0, "metre"),
        (False, 0.0, 1.0, "metre"),
        (False, 1.0, 0.0, "relative"),  # labels are there, and taught nothing
        (True, 0.0, 0.0, "relative"),  # likewise poses
    ],
)
def test_what_taught_in_metres_makes_the_unit_a_metre(poses, synthesis, labels, unit):
    losses = LossesConfig(
        synthesis=SynthesisConfig(weight=synthesis), labels=DepthLabelsConfig(weight=labels)
    )
    scale = fit_scale(student(), loader(labels=True, poses=poses), CPU, losses, batches=1)
    assert (scale.unit, scale.factor) == (unit, 1.0)


class TwoLenses(WallWorld):
    """Every other frame is seen through a longer lens."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        longer = np.diag([1.5, 1.5, 1]).astype(np.float32)
        return replace(sample, intrinsics=longer @ sample.intrinsics) if index % 2 else sample


def loader_of(world, **settings):
    usual = {"augment": NO_AUGMENTATION, "threads": 1, "prefetch": 1}
    return BatchLoader(world, LoaderConfig(height=HEIGHT, width=WIDTH, batch_size=4, **(usual | settings)), 0)


def lens_of(given):
    return fit_scale(student(), given, CPU, LossesConfig(), batches=2).fy_per_height


def test_the_lens_is_noted_for_which_the_metres_hold():
    assert lens_of(loader_of(WallWorld())) == pytest.approx(FOCAL / HEIGHT)


def test_one_lens_is_not_noted_for_several(caplog):
    assert lens_of(loader_of(TwoLenses())) is None
    assert "training saw fy / height from 0.938 to 1.41" in caplog.text
    zooming = AugmentConfig(crop=0.5, max_zoom=2.0)
    assert lens_of(loader_of(WallWorld(), augment=zooming)) is None
    assert "from 0.938 to 1.88, crops included" in caplog.text


def test_several_lenses_that_are_brought_to_one_are_that_one():
    zooming = AugmentConfig(crop=0.5, max_zoom=2.0)
    given = loader_of(TwoLenses(), augment=zooming, canonical_fy_per_height=1.92)
    scale = fit_scale(student(), given, CPU, LossesConfig(), batches=2)
    assert scale.fy_per_height == 1.92


def test_who_learned_of_a_teacher_alone_has_the_teacher_s_unit():
    losses = LossesConfig(synthesis=SynthesisConfig(weight=0.0))
    taught_in = DepthScale(unit="metre", metres_per_unit=1.04)
    assert fit_scale(student(), loader(labels=True), CPU, losses, teacher=taught_in, batches=1) == taught_in


def test_what_is_published_says_where_it_comes_from(tmp_path):
    network, config = student(), tiny_config(tmp_path, seed=5)
    path = tmp_path / "student.safetensors"
    scale = fit_scale(network, loader(labels=True), CPU, LossesConfig(), batches=1)
    parents = (Parent(role="initial", sha256="0" * 64),)
    publish(path, network, config, data=("a wall",), steps=7, hours=0.25, scale=scale, parents=parents)
    provenance = read_metadata(path).provenance
    assert (provenance.data, provenance.recipe, provenance.steps, provenance.seed) == (
        ("a wall",),
        "test",
        7,
        5,
    )
    assert provenance.hours == 0.25
    assert len(provenance.commit) in (0, 40)
    assert provenance.parents == parents
    assert read_metadata(path).scale == scale


def test_parents_are_known_by_what_is_in_them(tmp_path):
    teacher = tmp_path / "teacher.safetensors"
    network = lively("tiny")
    save_checkpoint(teacher, network, CheckpointMetadata(config=network.config))
    (parent,) = find_parents(tiny_config(tmp_path, teacher=teacher))
    assert (parent.role, parent.sha256) == ("teacher", hashlib.sha256(teacher.read_bytes()).hexdigest())
    teacher.unlink()
    with pytest.raises(CheckpointError, match=r"teacher\.safetensors.*cannot be read"):
        find_parents(tiny_config(tmp_path, teacher=teacher))


def test_the_best_so_far_is_forgotten_where_other_frames_or_another_crop_watch(tmp_path):
    def bests(world, line, crop="none"):
        config = tiny_config(tmp_path)
        operation = replace(config.operation, validate_crop=crop)
        config = replace(
            config, validation=(line,), operation=operation, schedule=replace(config.schedule, steps=1)
        )
        found = []
        with joined("cpu") as process:
            networks = build_networks(config, process.device)
            trainer = Trainer(
                config, networks, loader_of(WallWorld()), loader_of(world), process, on_best=found.append
            )
            trainer.run()
        return [one.metrics.abs_rel > 0.1 for one in found]

    assert bests(WallWorld(2), "video:near") == [False]
    assert bests(Slope(2, 6), "video:near") == []
    assert bests(Slope(2, 6), "video:far") == [True]
    assert bests(Slope(2, 8), "video:far") == []
    assert bests(Slope(2, 8), "video:far", crop="garg") == [True]
