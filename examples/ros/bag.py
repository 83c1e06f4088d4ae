"""Depth for a recorded bag, without ROS: `python -m examples.ros.bag DRIVE DEPTH --image TOPIC --info TOPIC`.

It reads ROS 1 and ROS 2 bags and writes a ROS 2 bag of depth images and their CameraInfos, to be played
beside the first. It needs rosbags (`pip install rosbags`), and knows nothing of the service.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from depth_client import DepthClient, ServiceError

from .bridge import BridgeOptions, CameraFrame, DepthBridge, Pairing
from .conversions import Encoding, UnfitMessage

_BAG_VERSION: Literal[9] = 9
"""Of rosbag2's metadata; what ROS 2 Jazzy writes, and Humble reads."""


@dataclass(frozen=True, kw_only=True)
class BagCommand:
    """Depth for a recorded bag."""

    bag: tyro.conf.Positional[Path]
    """ROS 1 or ROS 2."""
    output: tyro.conf.Positional[Path]
    """The folder of the new bag; it must not be there yet."""
    image: str = "/camera/image_rect"
    """Rectified pictures: Image or CompressedImage."""
    info: str = "/camera/camera_info"
    address: str = "grpc://localhost:8001"
    """Of the service."""
    topic: Annotated[str, tyro.conf.arg(metavar="NAMESPACE")] = "/camera/depth"
    """What is written: its `image_rect` and `camera_info`."""
    encoding: Encoding = "32FC1"
    steadiness: float = 0.8
    """How firmly depth is held from picture to picture, from 0 (not at all) to 1."""
    camera_height_m: float | None = None
    """Over flat ground that is seen: makes relative depth metric."""
    farthest_m: float | None = None
    """What lies beyond is written as out of range."""


def run(command: BagCommand) -> int:
    """Write the bag, and return how many pictures got depth.

    Raises:
        UnfitMessage: The bag has no such topics, or their messages will not do.
        ServiceError: The service cannot be asked.
    """
    options = BridgeOptions(
        encoding=command.encoding,
        latest=False,
        steadiness=command.steadiness,
        camera_height_m=command.camera_height_m,
        farthest_m=command.farthest_m,
    )
    store, written = get_typestore(Stores.LATEST), 0
    with (
        AnyReader([command.bag], default_typestore=store) as reader,
        DepthClient(command.address) as client,
        Writer(command.output, version=_BAG_VERSION) as writer,
    ):
        topics = {"depth": f"{command.topic}/image_rect", "info": f"{command.topic}/camera_info"}
        kinds = {"depth": "sensor_msgs/msg/Image", "info": "sensor_msgs/msg/CameraInfo"}
        connections = {
            name: writer.add_connection(topic, kinds[name], typestore=store) for name, topic in topics.items()
        }
        for answer in DepthBridge(client, options).answers(_frames(reader, command)):
            stamp = answer.depth.header.stamp
            at_ns = stamp.sec * 10**9 + stamp.nanosec
            for name, record in (("depth", answer.depth), ("info", answer.info)):
                body = store.serialize_cdr(built(store, record, kinds[name]), kinds[name])
                writer.write(connections[name], at_ns, body)
            written += 1
    return written


def _frames(reader: AnyReader, command: BagCommand) -> Iterator[CameraFrame]:
    wanted = [each for each in reader.connections if each.topic in (command.image, command.info)]
    if {each.topic for each in wanted} != {command.image, command.info}:
        there = ", ".join(sorted(reader.topics))
        raise UnfitMessage(f"the bag lacks {command.image} or {command.info}; it has {there}")
    pairing = Pairing()
    # A latched CameraInfo may be recorded once, and behind the first pictures.
    calibrations = [each for each in wanted if each.topic == command.info]
    for connection, _, raw in itertools.islice(reader.messages(calibrations), len(calibrations)):
        pairing.take_info(reader.deserialize(raw, connection.msgtype))
    for connection, _, raw in reader.messages(wanted):
        message: Any = reader.deserialize(raw, connection.msgtype)
        if connection.topic == command.info:
            pairing.take_info(message)
        elif (frame := pairing.take_image(message)) is not None:
            yield frame


_KINDS = {
    "Time": "builtin_interfaces/msg/Time",
    "Header": "std_msgs/msg/Header",
    "RegionOfInterest": "sensor_msgs/msg/RegionOfInterest",
}


def built(store: Typestore, record: Any, kind: str) -> Any:
    """Make a message of rosbags from a record."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    for name, value in values.items():
        if dataclasses.is_dataclass(value):
            values[name] = built(store, value, _KINDS[type(value).__name__])
        elif isinstance(value, bytes):
            values[name] = np.frombuffer(value, np.uint8)
    return store.types[kind](**values)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    command = tyro.cli(BagCommand, prog="python -m examples.ros.bag", args=arguments)
    try:
        count = run(command)
    except (UnfitMessage, ServiceError, OSError) as error:
        raise SystemExit(f"examples.ros.bag: {error}") from error
    print(f"depth of {count} pictures written to {command.output}")


if __name__ == "__main__":
    main()
