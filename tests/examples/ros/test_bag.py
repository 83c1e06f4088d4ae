from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from examples.ros import bag, messages
from examples.ros.conversions import compressed_depth, depth_image
from examples.ros.messages import Header, Time
from examples.ros.pictures import picture_of
from tests.depth_client.served import HEIGHT, WIDTH, Served, depth_of, served
from tests.examples.ros.cameras import HEADER, RGB, image, info
from tests.examples.ros.test_conversions import DEPTH, result

KINDS = {
    "sensor_msgs/msg/Image": messages.Image,
    "sensor_msgs/msg/CompressedImage": messages.CompressedImage,
    "sensor_msgs/msg/CameraInfo": messages.CameraInfo,
    "sensor_msgs/msg/RegionOfInterest": messages.RegionOfInterest,
    "std_msgs/msg/Header": messages.Header,
    "builtin_interfaces/msg/Time": messages.Time,
}


@pytest.fixture(scope="module")
def service() -> Iterator[Served]:
    with served("grpc") as running:
        yield running


@pytest.mark.parametrize("store", [Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY, Stores.LATEST])
def test_our_records_have_the_fields_of_the_messages_of_ros(store: Stores) -> None:
    theirs = get_typestore(store).types
    for kind, ours in KINDS.items():
        named = [field.name for field in fields(theirs[kind]) if not field.name.startswith("__")]
        assert [field.name for field in fields(ours)] == named, kind


@pytest.mark.parametrize("store", [Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY])
def test_what_we_publish_survives_ros_s_own_serialisation(store: Stores) -> None:
    types = get_typestore(store)
    millimetres = depth_image(HEADER, result(DEPTH), "16UC1")
    for record in (depth_image(HEADER, result(DEPTH)), millimetres, compressed_depth(millimetres), info()):
        kind = f"sensor_msgs/msg/{type(record).__name__}"
        body = types.serialize_cdr(bag.built(types, record, kind), kind)
        read = types.deserialize_cdr(body, kind)
        assert (read.header.stamp.sec, read.header.stamp.nanosec) == (12, 345)
        assert read.header.frame_id == HEADER.frame_id
        for field in fields(record):
            sent, came = getattr(record, field.name), getattr(read, field.name)
            if isinstance(sent, bytes):
                assert bytes(came) == sent
            elif isinstance(sent, np.ndarray):
                np.testing.assert_array_equal(came, sent)
            elif isinstance(sent, int | str):
                assert came == sent


def test_messages_of_ros_are_read_like_our_own() -> None:
    types = get_typestore(Stores.ROS2_HUMBLE)
    kind = "sensor_msgs/msg/Image"
    message = types.deserialize_cdr(types.serialize_cdr(bag.built(types, image(), kind), kind), kind)
    np.testing.assert_array_equal(picture_of(message)[0], RGB)


def write_bag(path: Path, stamps: list[Time]) -> None:
    store = get_typestore(Stores.LATEST)
    with Writer(path, version=9) as writer:
        kinds = {"info": "sensor_msgs/msg/CameraInfo", "image": "sensor_msgs/msg/CompressedImage"}
        topics = {"info": "/front/camera_info", "image": "/front/image_rect/compressed"}
        connections = {
            name: writer.add_connection(topics[name], kinds[name], typestore=store) for name in topics
        }
        for number, stamp in enumerate(stamps, start=1):
            header = Header(stamp=stamp, frame_id="front_optical")
            picture = messages.CompressedImage(header=header, format="jpeg", data=bytes([number]))
            for name, record in (("info", info(header=header)), ("image", picture)):
                body = store.serialize_cdr(bag.built(store, record, kinds[name]), kinds[name])
                writer.write(connections[name], stamp.sec * 10**9 + stamp.nanosec, body)


TOPICS = [
    "--image",
    "/front/image_rect/compressed",
    "--info",
    "/front/camera_info",
    "--topic",
    "/front/depth",
]


def test_a_latched_calibration_is_heard_by_the_pictures_before_it(service: Served, tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    header = Header(stamp=Time(sec=5), frame_id="camera_optical_frame")
    messages_of = [("/camera/image_rect", image(header=header), second) for second in (1, 2)]
    messages_of.append(("/camera/camera_info", info(header=header), 3))
    with Writer(tmp_path / "drive", version=9) as writer:
        connections = {}
        for topic, record, second in messages_of:
            kind = f"sensor_msgs/msg/{type(record).__name__}"
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            body = store.serialize_cdr(bag.built(store, record, kind), kind)
            writer.write(connections[topic], second * 10**9, body)
    command = bag.BagCommand(bag=tmp_path / "drive", output=tmp_path / "depth", address=service.address)
    assert bag.run(command) == 2


def test_a_recorded_drive_becomes_a_bag_of_depth(
    service: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamps = [Time(sec=100 + number, nanosec=7) for number in range(5)]
    write_bag(tmp_path / "drive", stamps)
    bag.main([str(tmp_path / "drive"), str(tmp_path / "depth"), "--address", service.address, *TOPICS])
    assert "depth of 5 pictures" in capsys.readouterr().out
    with AnyReader([tmp_path / "depth"]) as reader:
        read = [
            (connection.topic, at_ns, reader.deserialize(raw, connection.msgtype))
            for connection, at_ns, raw in reader.messages()
        ]
    images = [(at_ns, message) for topic, at_ns, message in read if topic == "/front/depth/image_rect"]
    infos = [message for topic, _, message in read if topic == "/front/depth/camera_info"]
    assert len(images) == len(infos) == 5
    for number, (at_ns, message) in enumerate(images):
        assert at_ns == (100 + number) * 10**9 + 7
        assert message.header == infos[number].header
        assert (message.header.stamp.sec, message.header.frame_id) == (100 + number, "front_optical")
        depth = message.data.view("<f4").reshape(HEIGHT, WIDTH)
        np.testing.assert_allclose(depth, depth_of(bytes([number + 1])), rtol=0.2)  # its scale is held
        assert (message.encoding, infos[number].width) == ("32FC1", WIDTH)


def test_a_topic_that_is_not_there_is_named(service: Served, tmp_path: Path) -> None:
    write_bag(tmp_path / "drive", [Time(sec=1)])
    with pytest.raises(SystemExit, match=r"lacks /no or .*; it has /front/camera_info"):
        bag.main(
            [str(tmp_path / "drive"), str(tmp_path / "depth"), "--address", service.address, "--image", "/no"]
        )
