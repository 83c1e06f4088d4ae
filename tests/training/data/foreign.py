"""Small data sets in the layouts of others: one car that drives ahead, one metre a frame, beside one wall."""

import json
from pathlib import Path

import cv2
import numpy as np

from tests.training.data.fabricated import pattern, write_image, write_text

HEIGHT, WIDTH = 24, 40
TURN = (0.5, -0.5, 0.5, -0.5)
"""w, x, y, z of a camera that looks along the car's x axis, with y to the right of the road as its -x."""
LIDAR_POINTS = np.array([[10.0, 0.0, 0.0], [20.0, 2.0, 1.0], [5.0, -1.0, -0.5], [-8.0, 0.0, 0.0]], np.float32)
"""x ahead, y left, z up, in metres; the last lies behind."""


def nuscenes(root: Path, *, frames: int = 3) -> None:
    """Keyframes of one camera and a scanner; the camera sits 1.5 m ahead of the car's middle, 1.5 m up."""
    lens = [[30.0, 0, 19.5], [0, 30.0, 11.5], [0, 0, 1]]
    tables: dict[str, list[dict]] = {
        "sensor": [
            {"token": "s-cam", "channel": "CAM_FRONT", "modality": "camera"},
            {"token": "s-lidar", "channel": "LIDAR_TOP", "modality": "lidar"},
        ],
        "calibrated_sensor": [
            {
                "token": "c-cam",
                "sensor_token": "s-cam",
                "translation": [1.5, 0, 1.5],
                "rotation": TURN,
                "camera_intrinsic": lens,
            },
            {
                "token": "c-lidar",
                "sensor_token": "s-lidar",
                "translation": [1.0, 0, 1.8],
                "rotation": [np.cos(0.05), 0, 0, np.sin(0.05)],
                "camera_intrinsic": [],
            },
        ],
        "scene": [{"token": "scene", "name": "scene-0001"}],
        "sample": [],
        "ego_pose": [],
        "sample_data": [],
    }
    for frame in range(frames):
        sample = f"sample-{frame}"
        tables["sample"].append({"token": sample, "scene_token": "scene", "timestamp": frame})
        for channel, late_m in (("CAM_FRONT", 0.0), ("LIDAR_TOP", 0.25)):
            name = f"{channel}-{frame}"
            suffix = "jpg" if channel == "CAM_FRONT" else "pcd.bin"
            file = f"samples/{channel}/{name}.{suffix}"
            tables["ego_pose"].append(
                {"token": name, "translation": [frame + late_m, 0, 0], "rotation": [1, 0, 0, 0]}
            )
            tables["sample_data"].append(
                {
                    "token": name,
                    "sample_token": sample,
                    "ego_pose_token": name,
                    "calibrated_sensor_token": "c-cam" if channel == "CAM_FRONT" else "c-lidar",
                    "filename": file,
                    "is_key_frame": True,
                    "timestamp": 1000 * frame,
                    "height": HEIGHT if channel == "CAM_FRONT" else 0,
                    "width": WIDTH if channel == "CAM_FRONT" else 0,
                }
            )
            if channel == "CAM_FRONT":
                write_image(root / file, pattern(frame, HEIGHT, WIDTH))
            else:
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                rest = np.zeros((len(LIDAR_POINTS), 2), np.float32)
                np.concatenate((LIDAR_POINTS, rest), axis=1).tofile(root / file)
    for name, rows in tables.items():
        write_text(root / "v1.0-mini" / f"{name}.json", json.dumps(rows))


def dgp(root: Path, *, frames: int = 3) -> None:
    """A scene of one camera and a scanner at the same place."""
    lens = {"fx": 30.0, "fy": 30.0, "cx": 19.5, "cy": 11.5, "skew": 0.0}
    place = {"translation": {"x": 0, "y": 0, "z": 0}, "rotation": {"qw": 1}}
    scene = root / "000000"
    data, samples = [], []
    for frame in range(frames):
        at = {"x": float(frame), "y": 0.0, "z": 0.0}
        w, x, y, z = TURN
        poses = {
            "CAMERA_01": {"translation": at, "rotation": {"qw": w, "qx": x, "qy": y, "qz": z}},
            "LIDAR": {"translation": at, "rotation": {"qw": 1.0}},
        }
        write_image(scene / "rgb" / "CAMERA_01" / f"{frame}.png", pattern(frame, HEIGHT, WIDTH))
        cloud = scene / "point_cloud" / "LIDAR" / f"{frame}.npz"
        cloud.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cloud, data=np.concatenate((LIDAR_POINTS, np.ones((4, 1), np.float32)), axis=1))
        image = {"filename": f"rgb/CAMERA_01/{frame}.png", "height": HEIGHT, "width": WIDTH}
        data.append({"key": f"c{frame}", "id": {"name": "CAMERA_01"}, "datum": {"image": image}})
        image["pose"] = poses["CAMERA_01"]
        points = {"filename": f"point_cloud/LIDAR/{frame}.npz", "pose": poses["LIDAR"]}
        data.append({"key": f"l{frame}", "id": {"name": "LIDAR"}, "datum": {"point_cloud": points}})
        samples.append({"datum_keys": [f"c{frame}", f"l{frame}"], "calibration_key": "k"})
    calibration = {"names": ["CAMERA_01", "LIDAR"], "intrinsics": [lens, {}], "extrinsics": [place, place]}
    write_text(scene / "calibration" / "k.json", json.dumps(calibration))
    write_text(scene / "scene_a.json", json.dumps({"data": data, "samples": samples}))
    write_text(
        root / "ddad.json", json.dumps({"scene_splits": {"0": {"filenames": ["000000/scene_a.json"]}}})
    )


def tum(root: Path, *, frames: int = 3) -> Path:
    """A sequence of the third camera, whose depth and pose come 5 ms late."""
    folder = root / "rgbd_dataset_freiburg3_drawn"
    colour, depth, poses = ["# colour"], ["# depth"], ["# poses"]
    for frame in range(frames):
        time_s = 100 + frame / 30
        write_image(folder / "rgb" / f"{time_s:.6f}.png", pattern(frame, 480, 640))
        steps = np.full((480, 640), 5000 * (frame + 1), np.uint16)
        steps[0, 0] = 0
        write_image(folder / "depth" / f"{time_s + 0.005:.6f}.png", steps)
        colour.append(f"{time_s:.6f} rgb/{time_s:.6f}.png")
        depth.append(f"{time_s + 0.005:.6f} depth/{time_s + 0.005:.6f}.png")
        poses.append(f"{time_s + 0.005:.6f} 0 0 {0.1 * frame} 0 0 0 1")
    for name, lines in (("rgb", colour), ("depth", depth), ("groundtruth", poses)):
        write_text(folder / f"{name}.txt", "\n".join(lines) + "\n")
    return folder


def virtual_kitti(root: Path, *, frames: int = 3) -> Path:
    """A scene straight ahead, a metre a frame, with the sky in the first row."""
    folder = root / "Scene01" / "clone"
    lenses, poses = ["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"], ["frame cameraID r1,1 ..."]
    for frame in range(frames):
        for camera in (0, 1):
            image = pattern(10 * frame + camera, 375, 1242)
            write_image(folder / f"frames/rgb/Camera_{camera}/rgb_{frame:05}.jpg", image)
            lenses.append(f"{frame} {camera} 725.0087 725.0087 620.5 187")
            camera_T_world = np.eye(4)
            camera_T_world[:3, 3] = (-0.532725 * camera, 0, -frame)
            poses.append(f"{frame} {camera} " + " ".join(map(str, camera_T_world.ravel())))
        steps = np.full((375, 1242), 1234, np.uint16)
        steps[0] = 65535
        path = folder / f"frames/depth/Camera_0/depth_{frame:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), steps)
    write_text(folder / "intrinsic.txt", "\n".join(lenses))
    write_text(folder / "extrinsic.txt", "\n".join(poses))
    return folder
