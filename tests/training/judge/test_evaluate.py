"""`depth-evaluate` as its users meet it: files in, numbers with their conditions out."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.checkpoint import save_checkpoint
from model.checksums import file_sha256
from model.config import preset
from model.exported import EXPORT_KEY, describe
from model.metadata import CheckpointMetadata, DepthScale, read_metadata
from tests.assets import shared
from tests.model.networks import lively
from training.judge.candidates import open_candidate
from training.judge.comparison import FrameScore
from training.judge.evaluate import main
from training.judge.evaluation_files import best_and_worst
from training.judge.metrics import Metrics
from training.judge.options import PROTOCOLS

HEIGHT, WIDTH = 60, 200


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors", DepthScale())


def write_checkpoint(path: Path, scale: DepthScale) -> Path:
    network = lively("tiny")
    save_checkpoint(path, network, CheckpointMetadata(config=network.config, scale=scale))
    return path


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """Twelve noisy photographs of a road, with depth."""
    folder = tmp_path_factory.mktemp("drive")
    generator = np.random.default_rng(0)
    depth = 200.0 / (np.arange(HEIGHT) + 5.0)
    for name in ("images", "depth"):
        (folder / name).mkdir()
    for index in range(12):
        image = generator.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        steps = np.tile((depth * (1 + 0.1 * index) * 256)[:, None], (1, WIDTH)).astype(np.uint16)
        cv2.imwrite(str(folder / "images" / f"{index:06}.png"), image)
        cv2.imwrite(str(folder / "depth" / f"{index:06}.png"), steps)
    return folder


def arguments(checkpoint: Path, drive: Path, *more: str) -> list[str]:
    paths = ["--data", str(drive / "images"), "--ground-truth", str(drive / "depth")]
    return [str(checkpoint), "--protocol", "folder", *paths, *more]


def test_numbers_are_printed_with_everything_that_they_depend_on(checkpoint, drive, capsys):
    main(arguments(checkpoint, drive, "--crop", "garg", "--alignment", "median", "lsq", "--flip"))
    text = capsys.readouterr().out
    assert "tiny.safetensors on" in text
    assert "Garg crop, 0.001 to 80 m; 12 images; median scaling per image, averaged with mirrored" in text
    assert "12 images; least squares on disparity per image, scale and shift, averaged with mirrored" in text
    assert text.count("AbsRel") == 2


def test_the_output_folder_holds_summary_table_and_contact_sheet(checkpoint, drive, tmp_path):
    out = tmp_path / "out"
    main(arguments(checkpoint, drive, "--output", str(out), "--baselines", "--name", "a drive"))
    summary = json.loads((out / "summary.json").read_text())
    assert summary["data"] == "a drive"
    assert summary["checkpoint"]["sha256"] == file_sha256(checkpoint)
    assert summary["checkpoint"]["metadata"]["config"]["name"] == "tiny"
    [report] = summary["reports"]
    assert (report["protocol"], report["alignment"], report["images"]) == ("folder", "median", 12)
    low, high = report["intervals"]["abs_rel"]
    assert low <= report["mean"]["abs_rel"] <= high
    [baseline] = summary["baselines"]
    assert baseline["reports"][0]["mean"]["abs_rel"] < 0.02  # this road is a plane
    assert len((out / "images.csv").read_text().splitlines()) == 1 + 12
    sheet = cv2.imread(str(out / "best_and_worst.png"))
    assert sheet.shape[1] == 4 * 480
    assert sheet.shape[0] > 8 * 480 * HEIGHT / WIDTH


def score(abs_rel: float) -> FrameScore:
    metrics = Metrics(abs_rel=abs_rel, sq_rel=0, rmse=0, rmse_log=0, delta1=1, delta2=1, delta3=1)
    return FrameScore(key="a", pixels=1, measured=1, ratio=1.0, metrics=metrics)


def test_the_best_and_the_worst_are_chosen_and_no_frame_twice():
    scores = [score(value) for value in (0.3, 0.1, 0.5, 0.2, 0.4)]
    assert best_and_worst(scores, rows=1) == [1, 2]
    assert best_and_worst(scores, rows=2) == [1, 3, 4, 2]
    assert best_and_worst(scores, rows=3) == [1, 3, 0, 4, 2]


def test_a_stamp_writes_the_printed_numbers_into_the_checkpoint(drive, tmp_path):
    path = write_checkpoint(tmp_path / "metric.safetensors", DepthScale(unit="metre", metres_per_unit=2.0))
    out = tmp_path / "out"
    options = ["--alignment", "median", "none", "--stamp", "--output", str(out), "--name", "a drive"]
    main(arguments(path, drive, *options))
    rows = read_metadata(path).accuracy
    assert [(row.protocol, row.alignment, row.data, row.images) for row in rows] == [
        ("folder", "median", "a drive", 12),
        ("folder", "none", "a drive", 12),
    ]
    reports = json.loads((out / "summary.json").read_text())["reports"]
    assert [row.abs_rel for row in rows] == [report["mean"]["abs_rel"] for report in reports]
    assert rows[0].abs_rel != rows[1].abs_rel
    main(arguments(path, drive, *options[:3], "--flip", *options[3:]))
    assert [row.protocol for row in read_metadata(path).accuracy] == [
        *["folder"] * 2,
        *["folder, flip averaging"] * 2,
    ]


def write_export(path: Path, *, batch: int | None, uint8_input: bool) -> None:
    """An OpenVINO IR whose disparity is an image's mean brightness, from 0 to 1."""
    import openvino
    from openvino import opset13 as op

    config = preset("tiny")
    height, width = config.height, config.width
    shape = [batch or -1, height, width, 3] if uint8_input else [batch or -1, 3, height, width]
    image = op.parameter(shape, np.uint8 if uint8_input else np.float32, name="image")
    channels = op.reduce_mean(op.convert(image, "f32"), 3 if uint8_input else 1)
    bright = op.multiply(channels, np.float32(1 / 255 if uint8_input else 1))
    network = openvino.Model([op.add(bright, np.float32(1e-3))], [image], "brightness")
    description = describe(CheckpointMetadata(config=config), batch=batch, uint8_input=uint8_input)
    network.set_rt_info(description.to_json(), [EXPORT_KEY])
    openvino.save_model(network, path, compress_to_fp16=False)


@pytest.mark.parametrize(("batch", "uint8_input"), [(5, True), (None, False)])
def test_an_export_is_shown_images_as_it_demands_them(drive, tmp_path, batch, uint8_input):
    write_export(tmp_path / "bright.xml", batch=batch, uint8_input=uint8_input)
    predict = open_candidate(tmp_path / "bright.xml").predict
    images = [np.full((30, 50, 3), 51 * index, np.uint8) for index in range(6)]
    disparities = predict(images)
    assert [disparity.shape for disparity in disparities] == [(64, 96)] * 6
    assert [float(disparity.mean()) for disparity in disparities] == pytest.approx(
        [0.2 * index + 1e-3 for index in range(6)], abs=1e-5
    )
    out = tmp_path / "out"
    main(arguments(tmp_path / "bright.xml", drive, "--output", str(out)))
    assert json.loads((out / "summary.json").read_text())["checkpoint"]["name"] == "bright.xml"


def test_an_export_cannot_be_stamped(drive, tmp_path):
    with pytest.raises(SystemExit, match="--stamp needs a checkpoint"):
        main(arguments(tmp_path / "tiny.xml", drive, "--stamp"))


@pytest.mark.parametrize(
    ("protocol", "missing"),
    [("kitti-eigen", "--split"), ("kitti-improved", "--ground-truth"), ("folder", "--ground-truth")],
)
def test_a_protocol_says_which_argument_it_needs(checkpoint, tmp_path, protocol, missing):
    with pytest.raises(SystemExit, match=f"--protocol {protocol} needs {missing}"):
        main([str(checkpoint), "--protocol", protocol, "--data", str(tmp_path)])


def test_metres_of_a_relative_checkpoint_are_refused(checkpoint, drive):
    with pytest.raises(SystemExit, match="relative"):
        main(arguments(checkpoint, drive, "--alignment", "none"))


def test_a_missing_checkpoint_and_a_wrong_layout_are_told_without_traceback(checkpoint, drive, tmp_path):
    with pytest.raises(SystemExit, match=r"depth-evaluate: .*nowhere\.safetensors"):
        main(arguments(tmp_path / "nowhere.safetensors", drive))
    with pytest.raises(SystemExit, match="expected layout"):
        main(arguments(checkpoint, tmp_path))


@pytest.fixture
def start_of_04(tmp_path):
    """The first six frames of a real sequence, at a crossing."""
    sequence = shared("data/kitti_odometry/sequences/04")
    for name in ("image_2", "velodyne_depth"):
        (tmp_path / name).mkdir()
        for path in sorted((sequence / name).iterdir())[:6]:
            (tmp_path / name / path.name).symlink_to(path)
    (tmp_path / "calib.txt").symlink_to(sequence / "calib.txt")
    return tmp_path


def test_planes_stand_beside_the_results_on_real_frames(checkpoint, start_of_04, capsys):
    photographs, depth = str(start_of_04 / "image_2"), str(start_of_04 / "velodyne_depth")
    judged = [str(checkpoint), "--protocol", "folder", "--crop", "garg", "--baselines"]
    judged += ["--data", photographs, "--ground-truth", depth]
    main([*judged, "--calibration", str(start_of_04 / "calib.txt"), "--baseline-data", photographs, depth])
    text = capsys.readouterr().out
    _, road, best = (float(line.split()[1]) for line in text.splitlines() if line.startswith("mean"))
    assert "road 1.65 m under the camera, by calibration alone, on the same frames" in text
    assert "image_2, on the same frames" in text
    assert road == pytest.approx(0.340, abs=0.001)
    assert best == pytest.approx(0.134, abs=0.001)
    main(judged)
    assert "fitted to this very ground truth" in capsys.readouterr().out


def in_steps(drive: Path, folder: Path, factor: float) -> Path:
    """The drive's ground truth, stored with that many times KITTI's steps a metre."""
    folder.mkdir()
    for path in (drive / "depth").iterdir():
        steps = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float64) * factor
        cv2.imwrite(str(folder / path.name), steps.round().astype(np.uint16))
    return folder


def judged(capsys, *words: str) -> str:
    main(list(words))
    return capsys.readouterr().out


def test_centimetres_give_the_same_numbers_once_they_are_called_so(checkpoint, drive, tmp_path, capsys):
    photographs = [str(checkpoint), "--protocol", "folder", "--data", str(drive / "images")]
    kitti = judged(capsys, *photographs, "--ground-truth", str(drive / "depth"))
    cm = str(in_steps(drive, tmp_path / "cm", 100 / 256))
    named = judged(capsys, *photographs, "--ground-truth", cm, "--depth-scale", "cm")
    unnamed = judged(capsys, *photographs, "--ground-truth", cm)
    numbers = [[float(word) for word in text.splitlines()[3].split()[1:]] for text in (kitti, named, unnamed)]
    assert numbers[1] == pytest.approx(numbers[0], abs=0.01)
    assert numbers[2] != pytest.approx(numbers[0], abs=0.01)


def test_each_report_says_how_many_of_the_measured_pixels_counted(checkpoint, drive, tmp_path, capsys):
    cm = str(in_steps(drive, tmp_path / "cm", 100 / 256))
    text = judged(
        capsys, str(checkpoint), "--protocol", "folder", "--data", str(drive / "images"), "--ground-truth", cm
    )
    depth = np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in Path(cm).iterdir()]) / 256
    assert f"{100 * ((depth > 1e-3) & (depth < 80)).mean():.0f} % of the measured pixels counted" in text


def test_a_metric_network_remarks_on_ground_truth_in_centimetres(drive, tmp_path, capsys):
    path = write_checkpoint(tmp_path / "metric.safetensors", DepthScale(unit="metre", metres_per_unit=1.0))
    ratio = float(
        judged(capsys, *arguments(path, drive)).split("median depth: median ")[1].split(",")[0]
    )  # what this untrained network's unit really is
    path = write_checkpoint(tmp_path / "right.safetensors", DepthScale(unit="metre", metres_per_unit=ratio))
    assert "remark" not in judged(capsys, *arguments(path, drive))
    cm = str(in_steps(drive, tmp_path / "cm", 100 / 256))
    text = judged(
        capsys, str(path), "--protocol", "folder", "--data", str(drive / "images"), "--ground-truth", cm,
    )  # fmt: skip
    assert "--depth-scale cm" in text
    for name, steps, expected in (("mm", 1000, "--depth-scale mm"), ("m", 1000 / 256, "--depth-scale kitti")):
        floats = tmp_path / f"floats in {name}"
        floats.mkdir()
        for png in (drive / "depth").glob("*.png"):
            metres = cv2.imread(str(png), cv2.IMREAD_UNCHANGED) / 256
            np.save(floats / f"{png.stem}.npy", metres.astype(np.float32) * steps)
        text = judged(
            capsys, str(path), "--protocol", "folder", "--data", str(drive / "images"),
            "--ground-truth", str(floats), "--max-depth", "1e6",
        )  # fmt: skip
        assert (expected in text) == (name == "mm"), "floats are read as metres, and no unit is 3.9 of these"


def test_several_drives_count_the_same_and_another_checkpoint_is_compared(
    checkpoint, drive, tmp_path, capsys
):
    few = tmp_path / "few"
    for part in ("images", "depth"):
        (few / part).mkdir(parents=True)
        for name in ("000003.png", "000004.png"):
            (few / part / name).symlink_to(drive / part / name)
    sets = ["--data", str(drive / "images"), str(few / "images")]
    sets += ["--ground-truth", str(drive / "depth"), str(few / "depth")]
    out = tmp_path / "out"
    words = [str(checkpoint), "--protocol", "folder", *sets, "--against", str(checkpoint)]
    text = judged(capsys, *words, "--output", str(out))
    assert "14 images, mean of 2 sets" in text
    each = [float(word.split()[0]) for word in text.split("AbsRel of each set: ")[1].split(", ")[:2]]
    summary = json.loads((out / "summary.json").read_text())
    mean = summary["reports"][0]["mean"]["abs_rel"]
    assert mean == pytest.approx(np.mean(each), abs=1e-4)
    assert summary["against"]["differences"][0]["abs_rel"] == {"mean": 0.0, "interval": [0.0, 0.0]}
    assert "not told apart" in text


def test_a_jump_of_the_numbers_begins_another_set(checkpoint, drive, tmp_path, capsys):
    for part in ("images", "depth"):
        (tmp_path / part).mkdir()
        for number, name in ((1, "000001.png"), (2, "000002.png"), (60, "000003.png")):
            (tmp_path / part / f"{number:06}.png").symlink_to(drive / part / name)
    assert "3 images, mean of 2 sets" in judged(capsys, *arguments(checkpoint, tmp_path, "--gap", "10"))


def test_ground_truth_in_which_nothing_counts_ends_an_evaluation_before_it_begins(
    checkpoint, drive, tmp_path, capsys
):
    for part in ("images", "depth"):
        (tmp_path / part).mkdir()
        for path in (drive / part).iterdir():
            (tmp_path / part / path.name).symlink_to(path)
    for name in ("000010.png", "000011.png"):
        (tmp_path / "depth" / name).unlink()
        cv2.imwrite(str(tmp_path / "depth" / name), np.zeros((HEIGHT, WIDTH), np.uint16))
    with pytest.raises(SystemExit, match=r"(?s)000010.png: no pixel.*000011.png: no pixel"):
        main(arguments(checkpoint, tmp_path))


VALUES = {"depth_scale": "mm", "crop": "garg"} | dict.fromkeys(("min_depth", "max_depth", "gap"), "3")


@pytest.mark.parametrize(
    ("protocol", "option"),
    [
        (protocol, option)
        for protocol, taken in PROTOCOLS.items()
        for option in sorted(frozenset().union(*PROTOCOLS.values()) - taken)
    ],
)
def test_an_option_that_a_protocol_does_not_take_is_refused(checkpoint, tmp_path, protocol, option):
    name = f"--{option.replace('_', '-')}"
    given = [
        str(checkpoint),
        "--protocol",
        protocol,
        "--data",
        str(tmp_path),
        name,
        VALUES.get(option, "here"),
    ]
    with pytest.raises(SystemExit, match=f"{name} is for --protocol .*, not {protocol}"):
        main(given)


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (("--camera-height", "1.5"), "--camera-height is of the planes of --baselines"),
        (("--baseline-data", "a", "b"), "--baseline-data is of the planes of --baselines"),
        (("--calibration", "calib.txt"), "--calibration is for --baselines and --depth-scale cityscapes"),
    ],
)
def test_an_option_of_what_was_not_asked_for_is_refused(checkpoint, drive, option, complaint):
    with pytest.raises(SystemExit, match=complaint):
        main(arguments(checkpoint, drive, *option))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ((), "own images, depth files of 256 steps a metre (integers) or of metres (floats), no crop"),
        (("--depth-scale", "256"), "own images, depth files of 256 steps a metre, no crop"),
    ],
)
def test_the_unit_of_depth_files_stands_beside_the_numbers(checkpoint, drive, capsys, option, said):
    assert said in judged(capsys, *arguments(checkpoint, drive, *option))
