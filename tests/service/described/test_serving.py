"""What is served beside checkpoints, what is not, and what unit its depth has."""

import asyncio
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from model.described import read_description
from model.described.description import write_description
from model.described.runtime import RunningNetwork
from model.drawing import drawn_image, golden_answer
from service.contract.formats import Format
from service.models.discovery import CheckpointFolder
from tests.model.described.standins import write_network
from tests.service.checkpoints import write_checkpoint
from tests.service.described.serving import describe, photograph, serving

pytest.importorskip("onnxruntime", reason="needs the extra `onnxruntime`")
FIXED = {"rule": "fixed", "target": [32, 64]}
PHOTO = photograph(drawn_image(48, 80))
POINT = {"known_x_px": 20, "known_y_px": 40, "known_distance_m": 3}


def write(folder: Path, name: str = "net", **keys: object) -> Path:
    return describe(write_network(folder / f"{name}.onnx"), **{"size": FIXED, **keys})


async def test_a_described_network_says_its_unit_its_licence_and_what_runs_it(tmp_path: Path) -> None:
    write(tmp_path, output={"unit": "affine"}, licence="CC-BY-NC-4.0")
    async with serving(tmp_path) as service:
        [card] = (await service.get("/v1/models"))["models"]
        assert (card["unit"], card["affine"], card["licence"]) == ("relative", True, "CC-BY-NC-4.0")
        assert card["state"] == "ready"
        assert card["backend"].startswith("ONNX Runtime")
        assert (card["height"], card["width"]) == (32, 64)
        answer = await service.post(PHOTO)
        assert answer.headers["x-depth-licence"] == "CC-BY-NC-4.0"
        assert "two known points" in answer.headers["x-depth-notice"]


async def test_affine_depth_becomes_metres_by_two_known_points_and_never_by_one(tmp_path: Path) -> None:
    write(tmp_path, output={"unit": "affine"})
    async with serving(tmp_path) as service:
        plain = await service.post(PHOTO)
        assert (plain.status_code, plain.headers["x-depth-unit"]) == (200, "relative")
        millimetres = await service.post(PHOTO, format="uint16mm")
        assert millimetres.status_code == 400
        one = await service.post(PHOTO, **POINT)
        assert one.status_code == 400
        assert "two" in one.json()["error"]["message"]
        tall = await service.post(PHOTO, camera_height_m=1.5, fov_deg=70)
        assert tall.status_code == 400
        two = await service.post(PHOTO, known_points="20,40,3;60,10,9", format="float32")
        assert (two.status_code, two.headers["x-depth-unit"]) == (200, "metre")
        depth = np.frombuffer(two.content, "<f4").reshape(48, 80)
        assert depth[40, 20] == pytest.approx(3, rel=1e-2)
        assert depth[10, 60] == pytest.approx(9, rel=1e-2)


async def test_relative_depth_becomes_metres_by_one_known_point_and_never_by_itself(tmp_path: Path) -> None:
    write(tmp_path, output={"quantity": "depth", "unit": "relative"})
    async with serving(tmp_path) as service:
        assert (await service.post(PHOTO)).headers["x-depth-unit"] == "relative"
        assert (await service.post(PHOTO, **POINT)).headers["x-depth-unit"] == "metre"


async def test_metres_that_need_a_lens_are_relative_without_one_and_say_so(tmp_path: Path) -> None:
    write(
        tmp_path,
        output={"quantity": "depth", "unit": "metre"},
        focal={"rule": "times-over", "reference": 300},
    )
    async with serving(tmp_path) as service:
        without = await service.post(PHOTO)
        assert without.headers["x-depth-unit"] == "relative"
        assert "need a lens" in without.headers["x-depth-notice"]
        known = await service.post(PHOTO, fov_deg=60)
        assert (known.headers["x-depth-unit"], known.headers["x-depth-scale-source"]) == (
            "metre",
            "checkpoint+lens",
        )


async def test_a_pixel_where_the_network_has_no_depth_is_invalid_in_every_unit(tmp_path: Path) -> None:
    describe(write_network(tmp_path / "net.onnx", least=-0.6), size=FIXED, output={"unit": "affine"})
    async with serving(tmp_path) as service:
        answer = await service.post(PHOTO, format="float32")
        depth = np.frombuffer(answer.content, "<f4")
        assert 0 < np.isnan(depth).sum() < depth.size
        assert np.nanmin(depth) > 0
        assert answer.headers["x-depth-invalid"] == "nan"
        metres = await service.post(PHOTO, known_points="20,40,3;60,10,9;30,30,5", format="png16")
        assert metres.status_code in (200, 400)  # the points may lie where there is none


async def test_pictures_of_many_sizes_are_answered_at_their_own_size(tmp_path: Path) -> None:
    write(tmp_path, size={"rule": "longest", "target": [64], "multiple": 8})
    shapes = [(48, 80), (80, 48), (60, 60), (30, 90)]
    async with serving(tmp_path, max_batch=4) as service:
        photos = [photograph(drawn_image(*shape)) for shape in shapes * 4]
        answers = await asyncio.gather(*(service.post(photo, format="float32") for photo in photos))
        for answer, (height, width) in zip(answers, shapes * 4, strict=True):
            assert answer.status_code == 200, answer.text
            assert (answer.headers["x-depth-height"], answer.headers["x-depth-width"]) == (
                str(height),
                str(width),
            )
        small = await service.post(photos[0], format="float32", size="model")
        assert (small.headers["x-depth-height"], small.headers["x-depth-width"]) == ("40", "64")
        cloud = await service.post(photos[0], format="ply", size="model", fov_deg=60)
        assert cloud.content.startswith(b"ply")
        narrow = await service.post(photograph(drawn_image(1, 1000)))
        assert narrow.status_code in (200, 422)


async def test_a_picture_that_the_network_cannot_see_is_refused_with_its_size(tmp_path: Path) -> None:
    write(tmp_path, size={"rule": "lower", "target": [64], "max_pixels": 10_000})
    async with serving(tmp_path) as service:
        answer = await service.post(photograph(drawn_image(4, 400)))
        assert answer.status_code == 422
        assert "400x4" in answer.json()["error"]["message"]
        assert "max_pixels" in answer.json()["error"]["message"]


async def test_what_lies_in_the_folder_and_is_not_served_is_named_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path)
    write_network(tmp_path / "bare.onnx")
    describe(tmp_path / "lonely.onnx", preset="midas-small")
    (tmp_path / "old.pth").write_bytes(b"x")
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "model.ckpt").write_bytes(b"x")
    async with serving(tmp_path) as service:
        told = await service.get("/v1/models")
        assert [card["name"] for card in told["models"]] == ["net"]
        reasons = {file["file"]: file["reason"] for file in told["not_served"]}
    assert set(reasons) == {"bare.onnx", "lonely.depth.json", "old.pth", "hidden"}
    assert "expected bare.depth.json beside it" in reasons["bare.onnx"]
    assert "describes no network" in reasons["lonely.depth.json"]
    assert "never opened" in reasons["old.pth"]
    assert reasons["hidden"].startswith("model.ckpt: ")


async def test_a_file_that_goes_or_gets_its_description_is_named_no_longer(tmp_path: Path) -> None:
    write_network(tmp_path / "bare.onnx")
    (tmp_path / "old.pth").write_bytes(b"x")
    folder = CheckpointFolder(tmp_path, timeout_s=10)
    assert not await folder.find()
    assert [entry.name for entry, _ in folder.left] == ["bare.onnx", "old.pth"]
    describe(tmp_path / "bare.onnx", size=FIXED)
    (tmp_path / "old.pth").unlink()
    assert list(await folder.find()) == ["bare"]
    assert not folder.left


async def test_an_export_beside_its_checkpoint_is_no_model_of_its_own(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "student.safetensors")
    for name in ("student.xml", "student.bin"):
        (tmp_path / name).write_bytes(b"")
    folder = CheckpointFolder(tmp_path, timeout_s=10)
    assert list(await folder.find()) == ["student"]
    assert not folder.left


class Trap:
    """Whoever unpickles it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


async def test_nothing_that_lies_in_the_folder_is_ever_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, sprung = tmp_path / "models", tmp_path / "sprung"
    models.mkdir()
    write(models)
    program = f"import pathlib; pathlib.Path({str(sprung)!r}).touch()"
    for name in ("modeling_depth.py", "__init__.py", "sitecustomize.py", "net.py"):
        (models / name).write_text(program)
    for name in ("pytorch_model.bin", "net.pkl", "other.onnx", "net.onnx.data"):
        (models / name).write_bytes(pickle.dumps(Trap(sprung)))
    describe(models / "other.onnx", size=FIXED, preset="midas-small")
    monkeypatch.chdir(models)
    before = set(sys.modules)
    async with serving(models) as service:
        states = {card["name"]: card["state"] for card in (await service.get("/v1/models"))["models"]}
        assert states == {"net": "ready", "other": "failed"}
        assert (await service.post(PHOTO, model="net")).status_code == 200
    assert not sprung.exists()
    assert not {name for name in set(sys.modules) - before if name in ("net", "modeling_depth")}


async def test_a_network_that_does_not_give_its_golden_answer_does_not_serve(tmp_path: Path) -> None:
    write(tmp_path)
    network = tmp_path / "net.onnx"
    description = tmp_path / "net.depth.json"
    golden = RunningNetwork(network, read_description(description)).answer_drawing()
    write_description(description, {"size": FIXED}, golden_answer(golden))
    other = write(tmp_path, "other")
    write_description(other.with_name("other.depth.json"), {"size": FIXED}, golden_answer(golden * 1.5))
    async with serving(tmp_path) as service:
        states = {card["name"]: card["state"] for card in (await service.get("/v1/models"))["models"]}
    assert states == {"net": "ready", "other": "failed"}


async def test_a_new_description_is_a_new_version(tmp_path: Path) -> None:
    write(tmp_path, output={"quantity": "depth", "unit": "metre"})
    versions = []
    for factor in (1.0, 2.0):
        keys = json.loads((tmp_path / "net.depth.json").read_text())
        keys["output"]["factor"] = factor
        (tmp_path / "net.depth.json").write_text(json.dumps(keys))
        async with serving(tmp_path) as service:
            versions.append((await service.get("/v1/models"))["models"][0]["version"])
    assert versions[0] != versions[1]


async def test_a_picture_in_which_a_network_sees_no_depth_is_no_error(tmp_path: Path) -> None:
    """In any format; what would need depth is refused by its name."""
    describe(
        write_network(tmp_path / "net.onnx", least=-50.0),
        size=FIXED,
        output={"quantity": "depth", "unit": "metre"},
    )
    async with serving(tmp_path) as service:
        for format_ in Format:
            if format_.is_available:
                answer = await service.post(PHOTO, format=str(format_), fov_deg=60)
                assert answer.status_code == 200, answer.text
                assert (answer.headers["x-depth-min"], answer.headers["x-depth-max"]) == ("0", "0")
        for known in (POINT, {"camera_height_m": 1.5, "fov_deg": 60}, {"ground": "yes", "fov_deg": 60}):
            answer = await service.post(PHOTO, format="npy", **known)
            assert answer.status_code == (200 if "ground" in known else 400), answer.text
