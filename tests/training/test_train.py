import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from model.checkpoint import load_checkpoint, save_checkpoint
from model.metadata import read_metadata
from tests.training.worlds import photograph
from training.metrics import Metrics
from training.recipes import RECIPES
from training.train import _keep_best, main
from training.validation import Validated

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


def test_a_student_is_distilled_from_a_teacher_of_the_same_data(film, tmp_path):
    smoke(film, tmp_path / "first")
    teacher = tmp_path / "first" / "student.safetensors"
    assert smoke(film, tmp_path / "second", "--teacher", str(teacher)) == 0
    lines = (tmp_path / "second" / "log.jsonl").read_text().splitlines()
    assert {"scale", "category", "feature", "imitation"} <= set(json.loads(lines[0]))
    parents = read_metadata(tmp_path / "second" / "student.safetensors").provenance.parents
    assert [parent.role for parent in parents] == ["teacher"]


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
