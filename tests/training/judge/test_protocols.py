"""The published protocols: their windows, bounds and resizes, each against loops written from the papers."""

import json
import math
import statistics
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from tests.assets import shared
from training.data.frames import FrameError
from training.data.layout import LayoutError
from training.judge.comparison import compare, predict_frames
from training.judge.protocols.cityscapes import CITYSCAPES, open_cityscapes
from training.judge.protocols.folder import FOLDER, FolderFrames
from training.judge.protocols.kitti_eigen import KITTI_EIGEN, garg_crop, open_kitti_eigen
from training.judge.protocols.kitti_improved import KITTI_IMPROVED, open_kitti_improved
from training.judge.protocols.make3d import MAKE3D, open_make3d
from training.judge.protocols.protocol import JudgingError, TruthFrame

GENERATOR = np.random.default_rng(0)


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def frame(depth_m: np.ndarray, image: np.ndarray | None = None) -> TruthFrame:
    return TruthFrame(key="a", image=grey(8, 8) if image is None else image, depth_m=depth_m)


def scattered(height: int, width: int, low: float, high: float, share: float = 0.3) -> np.ndarray:
    """Sparse ground truth, as of a scanner."""
    depth = GENERATOR.uniform(low, high, (height, width))
    return np.where(GENERATOR.random((height, width)) < share, depth, 0.0).astype(np.float32)


def bilinear(disparity: np.ndarray, height: int, width: int, row: int, column: int) -> float:
    """Disparity at a pixel of the larger map, pixel centres at +0.5, edges repeated."""

    def place(index: int, size: int, of: int) -> tuple[int, int, float]:
        at = min(max((index + 0.5) * of / size - 0.5, 0.0), of - 1.0)
        low = min(int(at), of - 1)
        return low, min(low + 1, of - 1), at - low

    top, bottom, down = place(row, height, disparity.shape[0])
    left, right, along = place(column, width, disparity.shape[1])
    upper = disparity[top, left] * (1 - along) + disparity[top, right] * along
    lower = disparity[bottom, left] * (1 - along) + disparity[bottom, right] * along
    return float(upper * (1 - down) + lower * down)


def kitti_by_loops(
    disparity: np.ndarray, truth: np.ndarray, window: tuple[int, int, int, int], mask: tuple[float, float]
) -> tuple[float, float, int]:
    """AbsRel, RMSE and the number of pixels: median scaling, then the clamp to 80 m."""
    height, width = truth.shape
    top, bottom, left, right = window
    pairs = []
    for row in range(top, bottom):
        for column in range(left, right):
            y = float(truth[row, column])
            if mask[0] < y < mask[1]:
                pairs.append((y, 1.0 / bilinear(disparity, height, width, row, column)))
    ratio = statistics.median(y for y, _ in pairs) / statistics.median(p for _, p in pairs)
    scaled = [(y, min(max(p * ratio, 1e-3), 80.0)) for y, p in pairs]
    abs_rel = sum(abs(y - p) / y for y, p in scaled) / len(scaled)
    return abs_rel, math.sqrt(sum((y - p) ** 2 for y, p in scaled) / len(scaled)), len(pairs)


def test_eigen_resizes_disparity_crops_masks_scales_and_clamps_as_published():
    truth, disparity = scattered(94, 310, 0.5, 110), GENERATOR.uniform(0.005, 0.5, (24, 80))
    window = (
        int(0.40810811 * 94),
        int(0.99189189 * 94),
        int(0.03594771 * 310),
        int(0.96405229 * 310),
    )
    abs_rel, rmse, pixels = kitti_by_loops(disparity, truth, window, (1e-3, 80.0))
    score = compare(frame(truth), disparity, KITTI_EIGEN).score("median", None)
    assert score.pixels == pixels
    assert score.metrics.abs_rel == pytest.approx(abs_rel, rel=1e-5)
    assert score.metrics.rmse == pytest.approx(rmse, rel=1e-5)


def test_improved_ground_truth_counts_everywhere_and_beyond_80_m_too():
    truth, disparity = scattered(94, 310, 0.5, 110), GENERATOR.uniform(0.005, 0.5, (24, 80))
    abs_rel, rmse, pixels = kitti_by_loops(disparity, truth, (0, 94, 0, 310), (0.0, math.inf))
    score = compare(frame(truth), disparity, KITTI_IMPROVED).score("median", None)
    assert score.pixels == pixels == np.count_nonzero(truth)
    assert score.metrics.abs_rel == pytest.approx(abs_rel, rel=1e-5)
    assert score.metrics.rmse == pytest.approx(rmse, rel=1e-5)


def test_the_crop_of_a_kitti_image_is_that_of_garg():
    assert garg_crop(375, 1242) == (slice(153, 371), slice(44, 1197))
    # 0.99189189 * 370 is 366.9999993, of which whole pixels are 366.
    assert garg_crop(370, 1226) == (slice(151, 366), slice(44, 1181))


@pytest.mark.parametrize(
    ("protocol", "outside", "inside"),
    [
        (KITTI_EIGEN, (1e-3, 80.0), (0.002, 79.9)),
        (FOLDER["none"], (1e-3, 80.0), (0.002, 79.9)),
        (KITTI_IMPROVED, (0.0,), (0.001, 80.0, 200.0)),
    ],
)
def test_bounds_of_the_ground_truth_do_not_count_themselves(protocol, outside, inside):
    for depth, counts in [(value, False) for value in outside] + [(value, True) for value in inside]:
        assert protocol.counted(np.full((100, 100), depth, np.float32)).any() == counts, depth


def test_the_folder_protocol_with_garg_crop_is_eigens():
    truth, disparity = scattered(94, 310, 0.5, 110), GENERATOR.uniform(0.005, 0.5, (24, 80))
    eigen = compare(frame(truth), disparity, KITTI_EIGEN).score("median", None)
    assert compare(frame(truth), disparity, FOLDER["garg"]).score("median", None) == eigen
    assert compare(frame(truth), disparity, FOLDER["none"]).score("median", None).pixels > eigen.pixels


def test_cityscapes_counts_the_middle_of_what_the_bonnet_leaves():
    counted = CITYSCAPES.counted(CITYSCAPES.view(np.full((768, 2048), 10, np.float32)))
    rows, columns = np.nonzero(counted)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (256, 767, 192, 1855)
    assert counted.sum() == (768 - 256) * (1856 - 192)
    assert not CITYSCAPES.counted(np.full((768, 2048), 80, np.float32)).any()


def test_ground_truth_of_another_size_than_cityscapes_is_named():
    with pytest.raises(JudgingError, match=r"^a: ground truth is \(1024, 2048\); expected \(768, 2048\)"):
        compare(frame(np.ones((1024, 2048), np.float32)), np.ones((4, 8)), CITYSCAPES)


def make3d_by_loops(disparity: np.ndarray, grid: np.ndarray) -> tuple[float, float]:
    """AbsRel and the logarithmic error to base 10, over rows 17 to 38 of 55."""
    strip, rows, columns = grid[17:38], *disparity.shape
    pairs = []
    for row in range(21):
        for column in range(305):
            if 0 < strip[row, column] < 70:
                nearest = disparity[int(row * rows / 21), int(column * columns / 305)]
                pairs.append((float(strip[row, column]), 1.0 / float(nearest)))
    ratio = statistics.median(y for y, _ in pairs) / statistics.median(p for _, p in pairs)
    scaled = [(y, min(p * ratio, 70.0)) for y, p in pairs]
    abs_rel = sum(abs(y - p) / y for y, p in scaled) / len(scaled)
    return abs_rel, math.sqrt(sum((math.log10(y) - math.log10(p)) ** 2 for y, p in scaled) / len(scaled))


def test_make3d_takes_the_nearest_pixel_and_logarithms_to_base_10():
    grid = GENERATOR.uniform(1, 81, (55, 305)).astype(np.float32)
    disparity = GENERATOR.uniform(0.01, 0.5, (192, 640))
    score = compare(frame(grid), disparity, MAKE3D).score("median", None)
    abs_rel, rmse_log10 = make3d_by_loops(disparity, grid)
    assert score.metrics.abs_rel == pytest.approx(abs_rel, rel=1e-5)
    assert score.metrics.rmse_log == pytest.approx(rmse_log10, rel=1e-5)


def test_make3d_shows_the_network_the_middle_strip():
    photograph = np.zeros((2272, 1704, 3), np.uint8)
    photograph[710:1562] = 255
    seen = []

    def predict(images):
        seen.extend(images)
        return [np.ones((4, 8))]

    predict_frames(predict, [frame(np.ones((55, 305), np.float32), photograph)], MAKE3D, flip=False)
    assert seen[0].shape == (852, 1704, 3)
    assert seen[0].min() == 255


def test_a_photograph_of_another_size_than_make3d_is_named():
    with pytest.raises(JudgingError, match=r"^a: photograph is \(8, 8\); expected \(2272, 1704\)"):
        predict_frames(lambda images: [], [frame(np.ones((55, 305), np.float32))], MAKE3D, flip=False)


def test_the_tables_average_over_their_published_numbers_of_images():
    protocols = (KITTI_EIGEN, KITTI_IMPROVED, CITYSCAPES, MAKE3D)
    assert [protocol.published_images for protocol in protocols] == [697, 652, 1525, 134]


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def write_pair(folder: Path, name: str, depth_m: float = 10.0, size: tuple[int, int] = (20, 60)) -> None:
    write_png(folder / "images" / f"{name}.png", np.zeros((*size, 3), np.uint8))
    write_png(folder / "depth" / f"{name}.png", np.full(size, round(depth_m * 256), np.uint16))


def test_a_folder_pairs_photographs_and_depth_by_name(tmp_path):
    write_pair(tmp_path, "b", 20.5)
    write_pair(tmp_path, "a", 10.25)
    write_png(tmp_path / "images" / "without.png", np.zeros((20, 60, 3), np.uint8))
    frames = FolderFrames(tmp_path / "images", tmp_path / "depth")
    assert len(frames) == 2
    assert [frames[i].key.split("/")[-2:] for i in (0, 1)] == [["images", "a.png"], ["images", "b.png"]]
    assert [float(frames[i].depth_m[0, 0]) for i in (0, 1)] == [10.25, 20.5]


def test_a_folder_names_every_ground_truth_without_photograph(tmp_path):
    write_pair(tmp_path, "a")
    for name in ("x", "y"):
        write_png(tmp_path / "depth" / f"{name}.png", np.ones((20, 60), np.uint16))
    with pytest.raises(LayoutError) as caught:
        FolderFrames(tmp_path / "images", tmp_path / "depth")
    assert f"{tmp_path / 'depth' / 'x.png'}: has no photograph" in str(caught.value)
    assert f"{tmp_path / 'depth' / 'y.png'}: has no photograph" in str(caught.value)


def test_a_folder_without_ground_truth_is_an_error(tmp_path):
    write_png(tmp_path / "images" / "a.png", np.zeros((20, 60, 3), np.uint8))
    (tmp_path / "depth").mkdir()
    with pytest.raises(LayoutError, match="depth: has no depth in it"):
        FolderFrames(tmp_path / "images", tmp_path / "depth")
    with pytest.raises(LayoutError, match="elsewhere: missing folder"):
        FolderFrames(tmp_path / "images", tmp_path / "elsewhere")


def test_depth_of_another_size_than_its_photograph_names_the_file(tmp_path):
    write_pair(tmp_path, "a")
    write_png(tmp_path / "depth" / "a.png", np.ones((10, 60), np.uint16))
    with pytest.raises(FrameError, match=r"depth/a\.png: is 60x10 pixels, but its photograph is 60x20"):
        FolderFrames(tmp_path / "images", tmp_path / "depth")[0]


def test_make3d_reads_its_own_layout(tmp_path):
    write_png(tmp_path / "Test134" / "img-x.png", np.zeros((2272, 1704, 3), np.uint8))
    grid = np.zeros((55, 305, 4))
    grid[..., 3] = 7.0
    (tmp_path / "Gridlaserdata").mkdir()
    savemat(tmp_path / "Gridlaserdata" / "depth_sph_corr-x.mat", {"Position3DGrid": grid})
    [judged] = [open_make3d(tmp_path)[0]]
    score = compare(judged, np.full((4, 8), 0.5), MAKE3D).score("none", 3.5)
    assert score.pixels == 21 * 305
    assert score.metrics.abs_rel == pytest.approx(0.0, abs=1e-6)


def write_cityscapes(root: Path, *, disparity: bool) -> None:
    stem = "berlin_000000_000019"
    write_png(
        root / "leftImg8bit" / "test" / "berlin" / f"{stem}_leftImg8bit.png",
        np.zeros((1024, 2048, 3), np.uint8),
    )
    camera = {
        "intrinsic": {"fx": 2000.0, "fy": 2000.0, "u0": 1024.0, "v0": 512.0},
        "extrinsic": {"baseline": 0.2},
    }
    home = root / "camera" / "test" / "berlin"
    home.mkdir(parents=True)
    (home / f"{stem}_camera.json").write_text(json.dumps(camera))
    if disparity:
        steps = np.zeros((1024, 2048), np.uint16)
        steps[300:, :] = 256 * 40 + 1  # 40 pixels: 0.2 m * 2000 px / 40 px = 10 m
        write_png(root / "disparity" / "test" / "berlin" / f"{stem}_disparity.png", steps)


def test_cityscapes_is_read_without_the_bonnet_and_judged_in_the_middle(tmp_path):
    write_cityscapes(tmp_path, disparity=True)
    frames = open_cityscapes(tmp_path)
    assert frames[0].image.shape == (768, 2048, 3)
    score = compare(frames[0], np.full((4, 8), 0.1), CITYSCAPES).score("none", 1.0)
    assert score.pixels == (768 - 300) * (1856 - 192)
    assert score.metrics.abs_rel == pytest.approx(0.0, abs=1e-6)


def test_cityscapes_without_disparity_maps_names_the_photograph(tmp_path):
    write_cityscapes(tmp_path, disparity=False)
    with pytest.raises(LayoutError, match=r"berlin_000000_000019_leftImg8bit\.png: has no ground truth"):
        open_cityscapes(tmp_path)


DRIVE = "2011_09_26/2011_09_26_drive_0013_sync"


def scanned_frames() -> list[int]:
    scans = shared(f"data/kitti_raw/{DRIVE}/velodyne_points/data")
    return [int(path.stem) for path in sorted(scans.glob("*.bin"))]


def test_eigen_judges_listed_frames_by_their_scans(tmp_path):
    split = tmp_path / "split.txt"
    split.write_text("".join(f"{DRIVE} {number:010} l\n" for number in scanned_frames()))
    frames = open_kitti_eigen(shared("data/kitti_raw"), split)
    assert len(frames) == len(scanned_frames()) > 0
    truth = frames[0].depth_m
    height, width = truth.shape
    counted = KITTI_EIGEN.counted(truth)
    assert 10_000 < counted.sum() < 0.1 * height * width
    # Depth along the scanner's axis exceeds that along the camera's by their distance, 0.27 m.
    number = scanned_frames()[0]
    png = (
        shared("data/kitti_depth/2011_09_26_drive_0013_sync/proj_depth/velodyne_raw/image_02")
        / f"{number:010}.png"
    )
    along_camera = cv2.imread(str(png), cv2.IMREAD_UNCHANGED) / 256.0
    assert np.array_equal(truth > 0, along_camera > 0)
    difference = (truth - along_camera)[truth > 0]
    assert np.median(difference) == pytest.approx(0.27, abs=0.03)
    assert difference.std() < 0.02


def test_eigen_names_frames_without_a_scan(tmp_path):
    split = tmp_path / "split.txt"
    missing = next(number for number in range(144) if number not in scanned_frames())
    split.write_text(f"{DRIVE} {missing:010} l\n")
    with pytest.raises(LayoutError, match=f"{missing:010}.jpg: has no ground truth: expected a LiDAR scan"):
        open_kitti_eigen(shared("data/kitti_raw"), split)


def test_eigen_names_a_list_that_is_not_there(tmp_path):
    with pytest.raises(LayoutError, match=r"nowhere\.txt: missing file: list of frames"):
        open_kitti_eigen(shared("data/kitti_raw"), tmp_path / "nowhere.txt")


def test_improved_ground_truth_is_found_in_the_benchmarks_layout(tmp_path):
    depth = shared("data/kitti_depth/2011_09_26_drive_0013_sync/proj_depth/velodyne_raw/image_02")
    home = tmp_path / "val" / "2011_09_26_drive_0013_sync" / "proj_depth" / "groundtruth"
    home.mkdir(parents=True)
    (home / "image_02").symlink_to(depth)
    split = tmp_path / "split.txt"
    split.write_text(f"{DRIVE} 0000000007 l\n{DRIVE} 0000000008 l\n")
    frames = open_kitti_improved(shared("data/kitti_raw"), split, tmp_path)
    assert [key.rsplit("/", 1)[1] for key in frames.keys] == ["0000000007", "0000000008"]
    truth = frames[1].depth_m
    steps = cv2.imread(str(depth / "0000000008.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(truth, steps / np.float32(256))
    (home / "image_02").unlink()
    with pytest.raises(LayoutError, match=r"0000000007\.jpg: has no ground truth"):
        open_kitti_improved(shared("data/kitti_raw"), split, tmp_path)
