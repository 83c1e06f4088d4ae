import dataclasses
import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.torch import save_file

from model.checkpoint import load_checkpoint, save_checkpoint
from model.config import preset
from model.foundation import FoundationEncoder
from model.info import read_info
from model.metadata import DepthScale, read_metadata
from tests.model.described.standins import write_brightness
from tests.model.films import film as write_film
from tests.training.worlds import photograph
from training.hints.command import main as hints
from training.judge.metrics import Metrics
from training.loop.validation import Validated
from training.recipes import RECIPES
from training.train import _keep_best, main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def film(tmp_path):
    folder = tmp_path / "film"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number:03d}.png"), photograph(4.0 * number))
    return f"video:{folder}?fov_deg=77"


def smoke_command(film, folder, *more):
    return [
        "smoke", "--data", film, "--folder", str(folder), "--schedule.steps", "3", "--batch.size", "2",
        "--operation.log-every", "1", *more,
    ]  # fmt: skip


def smoke(film, folder, *more):
    return main(smoke_command(film, folder, *more))


def test_a_recipe_prints_its_plan_trains_and_writes_a_checkpoint(film, tmp_path, caplog):
    caplog.set_level("INFO")
    assert smoke(film, tmp_path / "run") == 0
    said = caplog.text
    for expected in (
        "recipe    smoke",
        "data      6 samples",
        "tiny at 96x64",
        "ms a step",
        "GiB",
        "step 3/3",
    ):
        assert expected in said
    network, metadata = load_checkpoint(tmp_path / "run" / "student.safetensors")
    assert metadata.provenance.recipe == "smoke"
    assert metadata.provenance.steps == 3
    assert metadata.scale.unit == "relative"
    assert network.config.name == "tiny"


def test_the_same_command_again_finds_the_run_finished(film, tmp_path):
    smoke(film, tmp_path / "run")
    before = (tmp_path / "run" / "log.jsonl").read_text()
    assert smoke(film, tmp_path / "run") == 0
    assert (tmp_path / "run" / "log.jsonl").read_text() == before


def test_a_plan_alone_leaves_nothing_behind(film, tmp_path):
    assert smoke(film, tmp_path / "run", "--operation.plan-only") == 0
    assert not list(tmp_path.glob("run/*.safetensors"))


def test_other_settings_in_the_same_folder_are_explained_without_a_traceback(film, tmp_path, caplog):
    smoke(film, tmp_path / "run")
    assert smoke(film, tmp_path / "run", "--optimizer.lr", "0.5") == 1
    assert "optimizer.lr: was 0.001, is now 0.5" in caplog.text


def test_labels_that_no_frame_has_are_missed_aloud(film, tmp_path, caplog):
    said = "losses.labels has a weight, but no frame was found that has labels or hints"
    assert smoke(film, tmp_path / "run", "--operation.plan-only") == 0
    assert said not in caplog.text
    assert smoke(film, tmp_path / "run", "--operation.plan-only", "--losses.labels.weight", "1") == 0
    assert said in caplog.text


@pytest.mark.slow
@pytest.mark.timeout(900)  # the first compilation on a busy machine takes minutes
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++: torch.compile makes C++ for a CPU")
def test_compiled_networks_learn_what_others_learn(film, tmp_path):
    losses = []
    for more in ((), ("--operation.compile",)):
        folder = tmp_path / f"run{len(losses)}"
        # In a process of its own: here, shapes are checked in ways that torch.compile cannot follow.
        command = smoke_command(film, folder, "--schedule.warmup-steps", "0", *more)
        subprocess.run([sys.executable, "-m", "training.train", *command], cwd=ROOT, check=True, timeout=600)
        lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
        losses.append([line["loss"] for line in lines if line["group"] == "training"])
        assert len(losses[-1]) == 3
        load_checkpoint(folder / "student.safetensors")
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_compiler_that_fails_is_told_without_a_traceback(film, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
    assert smoke(film, tmp_path / "run", "--operation.compile") == 1
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert "leave --operation.compile out: InvalidCxxCompiler: No working C++ compiler" in record.message


def test_data_that_is_not_there_is_explained_before_anything_is_computed(tmp_path, caplog):
    assert smoke("video:/nowhere?fov_deg=77", tmp_path / "run") == 1
    assert "/nowhere" in caplog.text


def test_a_best_that_cannot_be_written_is_told_and_ends_nothing(tmp_path, caplog):
    def write(to):
        raise OSError(errno.ENOSPC, "No space left on device", str(to))

    best = Validated(
        metrics=Metrics(**dict.fromkeys(Metrics.__dataclass_fields__, 0.1)),
        scale=1.0,
        scale_spread=0.0,
        frames=1,
    )
    _keep_best(tmp_path / "student.safetensors", write, best)
    assert "could not be kept" in caplog.text
    assert "student-best.safetensors" in caplog.text


@pytest.mark.parametrize(("recipe", "need"), [("distil", "teacher"), ("finetune", "initial")])
def test_a_recipe_that_is_pointless_without_a_checkpoint_asks_for_it(recipe, need, film, tmp_path, caplog):
    assert main([recipe, "--data", film, "--folder", str(tmp_path / "run")]) == 1
    assert f"the recipe {recipe} expects --{need} CHECKPOINT" in caplog.text
    assert not (tmp_path / "run").exists()


def test_crops_of_cached_tokens_are_refused_where_nothing_is_cached(film, tmp_path, caplog):
    crops = ["--batch.augment.crop", "0.5", "--batch.augment.resampled-tokens"]
    teacher = ["smoke-teacher", "--foundation-weights", "random", "--data", film, *crops]
    assert main([*teacher, "--folder", str(tmp_path / "run")]) == 1
    assert "resampled_tokens takes tokens from a cache; expected operation.tokens" in caplog.text


def test_watching_a_student_asks_no_foundation_model_and_without_view_synthesis_no_view_is_read(
    tmp_path, caplog
):
    caplog.set_level("INFO")
    world = "synthetic:?sequences=1&frames=2&height=64&width=96"
    vit = tmp_path / "vit.safetensors"  # random, and the same for both
    save_file(FoundationEncoder(preset("tiny-teacher").foundation, "random").vit.state_dict(), vit)
    run = ["--schedule.steps", "1", "--foundation-weights", str(vit), "--backbone-weights", "random"]
    teacher = ["smoke-teacher", "--data", world, "--folder", str(tmp_path / "teacher"), *run]
    assert main(teacher) == 0
    caplog.clear()
    student = [
        "smoke-distil",
        "--data",
        world,
        "--validation",
        f"{world}&seed=5",
        "--folder",
        str(tmp_path / "run"),
    ]
    student += ["--teacher", str(tmp_path / "teacher" / "teacher.safetensors"), *run]
    student += ["--operation.tokens", str(tmp_path / "tokens"), "--batch.augment.flip", "0"]
    student += ["--losses.synthesis.weight", "0", "--losses.imitation.no-gated"]
    assert main(student) == 0
    assert "validation after step 1" in caplog.text
    assert "no loss asks for other views, so they are not read" in caplog.text
    assert len(list((tmp_path / "tokens").rglob("*.safetensors"))) == 2


def test_a_student_is_distilled_from_a_teacher_of_the_same_data(film, tmp_path):
    smoke(film, tmp_path / "first")
    teacher = tmp_path / "first" / "student.safetensors"
    assert smoke(film, tmp_path / "second", "--teacher", str(teacher)) == 0
    lines = (tmp_path / "second" / "log.jsonl").read_text().splitlines()
    assert {"scale", "category", "feature", "imitation"} <= set(json.loads(lines[0]))
    parents = read_metadata(tmp_path / "second" / "student.safetensors").provenance.parents
    assert [parent.role for parent in parents] == ["teacher"]


@pytest.mark.parametrize("views", [True, False])
def test_a_student_learns_from_an_affine_network_of_others_and_says_what_is_known(
    views, film, tmp_path, caplog
):
    caplog.set_level("INFO")
    network = write_brightness(tmp_path / "other.onnx", factor=3.0)
    said = {"format": "depth-network/1", "preset": "depth-anything-v2", "licence": "CC BY-NC 4.0"}
    network.with_suffix(".depth.json").write_text(json.dumps({**said, "size": {"target": [70]}}))
    alone = [] if views else ["--losses.synthesis.weight", "0", "--losses.imitation.no-gated"]
    assert smoke(film, tmp_path / "run", "--teacher", str(network), *alone) == 0
    assert "disparity up to a factor and a shift" in caplog.text
    [losses] = [line for line in caplog.messages if line.startswith("losses")]
    assert "imitation" in losses
    assert "category" not in losses
    metadata = read_metadata(tmp_path / "run" / "student.safetensors")
    assert metadata.scale == DepthScale(affine=not views)
    assert metadata.inherited_licence() == "CC BY-NC 4.0"


def test_a_checkpoint_is_finetuned_from_its_weights(film, tmp_path):
    smoke(film, tmp_path / "first")
    first = tmp_path / "first" / "student.safetensors"
    assert smoke(film, tmp_path / "second", "--initial", str(first), "--optimizer.lr", "0") == 0
    assert read_metadata(tmp_path / "second" / "student.safetensors").provenance.parents[0].role == "initial"


def test_a_checkpoint_without_train_only_heads_is_finetuned_too(film, tmp_path):
    smoke(film, tmp_path / "first")
    network, metadata = load_checkpoint(tmp_path / "first" / "student.safetensors")
    shipped = tmp_path / "shipped.safetensors"
    save_checkpoint(shipped, network, metadata, dtype="float16", train_only_heads=False)
    assert smoke(film, tmp_path / "second", "--initial", str(shipped), "--optimizer.lr", "0") == 0
    assert read_metadata(tmp_path / "second" / "student.safetensors").storage.train_only_heads


def test_a_checkpoint_of_another_model_is_refused_naming_the_difference(film, tmp_path, caplog):
    smoke(film, tmp_path / "first")
    first = str(tmp_path / "first" / "student.safetensors")
    more = ("--initial", first, "--model.decoder-channels", "16", "16", "8", "8", "16")
    assert smoke(film, tmp_path / "second", *more) == 1
    assert "model.decoder_channels (16, 16, 8, 8, 8)" in caplog.text


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_known_by_its_own_name_and_says_what_it_is_for(name):
    recipe = RECIPES[name]
    assert recipe().recipe == name
    assert recipe.__doc__


def test_help_names_the_recipes_and_the_kinds_of_data(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(name in said for name in RECIPES)
    assert "kitti-raw" in said


def test_every_data_option_counts(film, tmp_path, caplog):
    caplog.set_level("INFO")
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "film", other)
    lines = ["--data", film, "--data", f"video:{other}?fov_deg=77"]
    assert main(["smoke", *lines, "--folder", str(tmp_path / "run"), "--operation.plan-only"]) == 0
    assert "data      12 samples" in caplog.text


def test_hints_of_two_data_sets_at_once_are_refused(film, tmp_path):
    with pytest.raises(SystemExit):
        hints(["--data", film, "--data", film, "--folder", str(tmp_path / "hints")])


def test_frames_that_cannot_watch_a_run_are_refused(film, tmp_path, caplog):
    assert smoke(film, tmp_path / "run", "--validation", film) == 1
    assert "no frame of --validation has measured depth" in caplog.text
    assert "expected depth=scan" in caplog.text


def test_frames_that_teach_and_watch_are_told(tmp_path, caplog):
    caplog.set_level("WARNING")
    world = "synthetic:?sequences=1&frames=2&height=64&width=96"
    options = ["--validation", world, "--operation.plan-only"]
    assert smoke(world, tmp_path / "run", *options) == 0
    assert "2 of 2 frames of --validation" in caplog.text


def test_black_frames_are_refused(tmp_path, caplog):
    (tmp_path / "black").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "black" / f"{number}.png"), np.zeros((48, 64, 3), np.uint8))
    assert smoke(f"video:{tmp_path / 'black'}?fov_deg=77&min_change=0", tmp_path / "run") == 1
    assert "of 3 frames 3 are of one colour" in caplog.text


def test_what_the_system_refuses_is_explained_without_a_traceback(film, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    assert smoke(film, tmp_path / "file" / "run") == 1
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert record.message == f"{tmp_path / 'file' / 'run'}: Not a directory"


def unknown(film):
    return film.replace("fov_deg=77", "learn_intrinsics=yes")


def test_an_unknown_camera_is_learned_said_and_kept(film, tmp_path, caplog):
    caplog.set_level("INFO")
    assert smoke(unknown(film), tmp_path / "run", "--schedule.warmup-steps", "0") == 0
    assert "camera    film: learned, from a field of view of 60.0 degrees" in caplog.text
    [camera] = read_metadata(tmp_path / "run" / "student.safetensors").cameras
    assert camera.name == "film"
    assert camera.fov_deg != pytest.approx(60, abs=1e-3)
    assert f"learned a horizontal field of view of {camera.fov_deg:.1f} degrees" in caplog.text
    shown = "\n".join(read_info(tmp_path / "run" / "student.safetensors").lines())
    assert f"film: learned a horizontal field of view of {camera.fov_deg:.1f} degrees" in shown


def test_a_camera_that_is_withheld_is_learned(film, tmp_path):
    assert smoke(f"{film}&withhold=intrinsics", tmp_path / "run", "--schedule.warmup-steps", "0") == 0
    assert [camera.name for camera in read_metadata(tmp_path / "run/student.safetensors").cameras] == ["film"]


def test_every_unknown_camera_is_learned_for_itself_and_known_ones_are_left_alone(film, tmp_path):
    for name in ("other", "third", "known"):
        shutil.copytree(tmp_path / "film", tmp_path / name)
    lines = [unknown(film), f"video:{tmp_path / 'other'}?learn_intrinsics=yes&fov_deg=90"]
    lines += [f"video:{tmp_path / 'third'}?learn_intrinsics=yes&camera=film"]
    lines += [f"video:{tmp_path / 'known'}?fov_deg=77"]
    run = ["smoke", "--data", *lines, "--folder", str(tmp_path / "run"), "--schedule.steps", "2"]
    assert main(run) == 0
    film_camera, other = read_metadata(tmp_path / "run" / "student.safetensors").cameras
    assert (film_camera.name, other.name) == ("film", "other")
    assert film_camera.fov_deg == pytest.approx(60, abs=1)
    assert other.fov_deg == pytest.approx(90, abs=1)


def test_cameras_are_not_learned_where_all_are_known(film, tmp_path, caplog):
    assert smoke(film, tmp_path / "run", "--intrinsics.learn") == 1
    assert "intrinsics.learn is True, but every camera is known; expected learn_intrinsics=yes" in caplog.text


def test_two_videos_of_one_name_are_told_how_to_have_two(film, tmp_path, caplog):
    shutil.copytree(tmp_path / "film", tmp_path / "trip" / "film")
    lines = ["--data", film, f"video:{tmp_path / 'trip' / 'film'}?fov_deg=77"]
    assert main(["smoke", *lines, "--folder", str(tmp_path / "run")]) == 1
    assert "two videos of the name 'film'; expected name= in a line" in caplog.text


def test_a_run_goes_on_after_its_data_and_its_first_checkpoint_moved(film, tmp_path, caplog):
    caplog.set_level("INFO")
    smoke(film, tmp_path / "first")
    first = tmp_path / "first" / "student.safetensors"
    more = ("--initial", str(first))
    assert smoke(film, tmp_path / "run", *more) == 0
    (tmp_path / "run" / "student.safetensors").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "film").rename(tmp_path / "elsewhere" / "film")
    first = first.rename(tmp_path / "elsewhere" / "first.safetensors")
    moved = film.replace(str(tmp_path), str(tmp_path / "elsewhere"))
    more = ("--initial", str(first))
    assert smoke(moved, tmp_path / "run", *more) == 0
    assert "resuming after step 3" in caplog.text
    assert smoke(moved.replace("fov_deg=77", "fov_deg=70"), tmp_path / "run", *more) == 1
    assert "data: was [" in caplog.text


def test_other_frames_in_the_place_of_a_run_s_data_are_noticed(film, tmp_path, caplog):
    smoke(film, tmp_path / "run")
    for number in range(6):
        cv2.imwrite(str(tmp_path / "film" / f"{number:03d}.png"), photograph(3.0 * number, phase=1))
    assert smoke(film, tmp_path / "run") == 1
    assert "files.contents: was" in caplog.text


def test_a_metric_checkpoint_keeps_its_unit_where_data_is_metric(tmp_path):
    world = "synthetic:?sequences=1&frames=2&height=64&width=96"
    smoke(world, tmp_path / "first")
    network, metadata = load_checkpoint(tmp_path / "first" / "student.safetensors")
    scale = DepthScale(unit="metre", metres_per_unit=2.5)
    metric = tmp_path / "metric.safetensors"
    save_checkpoint(metric, network, dataclasses.replace(metadata, scale=scale))
    assert smoke(world, tmp_path / "second", "--initial", str(metric)) == 0
    published = read_metadata(tmp_path / "second" / "student.safetensors").scale
    assert published.metres_per_unit == 2.5


def test_the_plan_says_what_space_a_video_will_take_before_it_takes_it(tmp_path, caplog):
    caplog.set_level("INFO")
    video = write_film(tmp_path / "drive.mp4", [photograph(4.0 * number) for number in range(8)])
    line = f"video:{video}?fov_deg=77&cache={tmp_path / 'cache'}"
    assert smoke(line, tmp_path / "run", "--operation.plan-only") == 0
    assert re.search(
        r"space     .*drive\.mp4: about 8 frames of \d+ KB, 0\.0 GB; .* GB are free", caplog.text
    )
    assert not (tmp_path / "cache").exists()
    assert smoke(line, tmp_path / "run") == 0
    assert len(list((tmp_path / "cache").glob("*/*.jpg"))) == 8
