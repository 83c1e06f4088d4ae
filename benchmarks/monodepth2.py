"""Our judge beside Monodepth2's own code on the same scans: metrics, ground truth, and the flip's blend.

    python benchmarks/monodepth2.py CLONE KITTI_RAW [--checkpoint model/pretrained/student.safetensors]

CLONE is your own clone of Monodepth2, whose licence is for non-commercial use; nothing of it is kept here,
and only the functions that are compared are taken from it. KITTI_RAW is a folder of dates with scans.
"""

import argparse
import ast
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from model.images import to_model_batch
from model.predictor import Predictor
from training.data.kitti_raw import KittiRaw, KittiRawConfig
from training.judge.alignment import fit
from training.judge.metrics import measure
from training.judge.protocols.kitti_eigen import KITTI_EIGEN

FUNCTIONS = {
    "evaluate_depth.py": ("compute_errors", "batch_post_process_disparity"),
    "kitti_utils.py": ("load_velodyne_points", "read_calib_file", "sub2ind", "generate_depth_map"),
}
"""Where they lie in the clone, with those that they call."""


def taken(clone: Path) -> dict[str, Callable[..., Any]]:
    """Return the functions, without importing what lies around them: networks, options, a graphics card.

    Raises:
        SystemExit: A file or function is not there.
    """
    names: dict[str, Any] = {"np": np, "os": __import__("os"), "Counter": Counter}
    for file, wanted in FUNCTIONS.items():
        path = clone / file
        if not path.is_file():
            raise SystemExit(f"{path} is not there; expected a clone of Monodepth2")
        found = [
            node
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name in wanted
        ]
        if missing := set(wanted) - {node.name for node in found}:
            raise SystemExit(f"{path} has no function {', '.join(sorted(missing))}")
        exec(compile(ast.Module(found, []), str(path), "exec"), names)  # noqa: S102 - the reader's own clone
    return names


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clone", type=Path)
    parser.add_argument("kitti_raw", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=Path("model/pretrained/student.safetensors"))
    arguments = parser.parse_args()
    theirs = taken(arguments.clone)
    predictor = Predictor.from_checkpoint(arguments.checkpoint)
    config = predictor.config
    settings: dict[str, Any] = {"root": arguments.kitti_raw, "offsets": (), "stereo": False, "poses": False}
    eigen = KittiRaw(
        KittiRawConfig(
            **settings, depth="scan", only_with_depth=True, scan_pixels="eigen", scan_axis="scanner"
        )
    )
    camera = KittiRaw(KittiRawConfig(**settings, depth="scan", only_with_depth=True))
    rows = []
    for index in range(len(eigen)):
        sample, seen = eigen[index], camera[index]
        assert sample.depth_m is not None
        assert seen.depth_m is not None
        scan = eigen.moment(index).depth
        assert scan is not None
        date = next(folder for folder in scan.path.parents if (folder / "calib_cam_to_cam.txt").is_file())
        truth = theirs["generate_depth_map"](str(date), str(scan.path), 2, False)
        both = [sample.image, np.ascontiguousarray(sample.image[:, ::-1])]
        plain, mirrored = predictor.disparity(to_model_batch(both, config.height, config.width))
        mirrored = mirrored[:, ::-1]
        blend = theirs["batch_post_process_disparity"](plain[None], mirrored[None])[0]
        apart = [_errors(plain, truth_m, theirs) for truth_m in (sample.depth_m, seen.depth_m)]
        rows.append(
            (
                float(np.abs(truth - sample.depth_m).max()),
                float(np.abs(apart[0][0] - apart[0][1]).max()),
                apart[0][0][0],
                apart[1][0][0],
                float(np.abs(blend / (0.5 * (plain + mirrored)) - 1).max()),
            )
        )
    worst, mean = np.max(rows, axis=0), np.mean(rows, axis=0)
    print(f"| {len(rows)} scans | |\n| --- | --- |")
    print(f"| ground truth, largest difference | {worst[0]:.2g} m |")
    print(f"| seven metrics on the same pixels, largest difference | {worst[1]:.1g} |")
    print(f"| AbsRel by the table's ground truth (scanner's x, one pixel up and left) | {mean[2]:.4f} |")
    print(f"| AbsRel by the camera's z, where the points are seen | {mean[3]:.4f} |")
    print(f"| `--flip` and the published blend, largest difference of disparity | {100 * worst[4]:.1f} % |")


def _errors(
    disparity: np.ndarray, truth_m: np.ndarray, theirs: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the seven metrics by our code and by theirs, of the same aligned and clamped pixels."""
    resized = KITTI_EIGEN.resized(disparity, *truth_m.shape)
    counted = KITTI_EIGEN.counted(truth_m)
    truth = truth_m[counted]
    depth_m = fit(resized[counted], truth, "median", None).depth_m(resized[counted], KITTI_EIGEN.clamp_m)
    return np.array(astuple(measure(truth, depth_m))), np.array(theirs["compute_errors"](truth, depth_m))


if __name__ == "__main__":
    main()
