import array
import asyncio
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Picture

from depth_client import CameraHeight, DepthClient, Intrinsics
from examples.ros.bridge import BridgeOptions, CameraFrame, DepthBridge, Feed, Pairing
from examples.ros.conversions import UnfitMessage
from examples.ros.messages import Header, Time, filled
from tests.depth_client.served import HEIGHT, WIDTH, Served, depth_of, served
from tests.examples.ros.cameras import HEADER, RGB, image, info
from tests.service.checkpoints import write_checkpoint
from tests.service.opened import both_transports, settings


@pytest.fixture
def service() -> Iterator[Served]:
    with served("grpc") as running:
        yield running


@pytest.fixture
def client(service: Served) -> Iterator[DepthClient]:
    with DepthClient(service.address) as opened:
        yield opened


def frame(second: int, focal_px: float = 4.0, picture: bytes | None = None) -> CameraFrame:
    header = Header(stamp=Time(sec=second), frame_id="camera_optical_frame")
    pairing = Pairing()
    pairing.take_info(info(header=header, focal_px=focal_px))
    made = pairing.take_image(image(header=header))
    assert made is not None
    if picture is None:
        return made
    return CameraFrame(header=header, image=picture, info=made.info, lens=made.lens)


EVERY = BridgeOptions(latest=False)


def test_each_picture_gets_depth_and_calibration_with_its_own_stamp_and_frame(
    service: Served, client: DepthClient
) -> None:
    pictures = [bytes([number]) for number in (1, 2, 3)]
    frames = [frame(number, picture=picture) for number, picture in enumerate(pictures)]
    answers = list(DepthBridge(client, EVERY).answers(frames))
    assert [answer.depth.header.stamp.sec for answer in answers] == [0, 1, 2]
    for picture, answer in zip(pictures, answers, strict=True):
        assert answer.depth.header == answer.info.header
        assert answer.depth.header.frame_id == "camera_optical_frame"
        depth = np.frombuffer(answer.depth.data, "<f4").reshape(HEIGHT, WIDTH)
        np.testing.assert_array_equal(depth, depth_of(picture))
        assert (answer.info.height, answer.info.width) == (answer.depth.height, answer.depth.width)
        np.testing.assert_allclose(answer.info.p, info().p)


def test_the_service_sees_the_camera_s_pixels_and_its_lens(service: Served, client: DepthClient) -> None:
    options = BridgeOptions(latest=False, camera_height_m=1.5, as_sent=False, model="student")
    (answer,) = DepthBridge(client, options).answers([frame(0)])
    (asked,) = service.engine.requests
    np.testing.assert_array_equal(np.asarray(Picture.open(io.BytesIO(bytes(asked.image)))), RGB)
    assert asked.lens == Intrinsics(fx_px=4, fy_px=4, cx_px=2.5, cy_px=1.5)
    assert (asked.anchor, asked.size, asked.model) == (CameraHeight(height_m=1.5), "model", "student")
    assert answer.result.request_id == asked.request_id


async def test_metres_are_those_of_camera_info_s_lens_as_over_http(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "student.safetensors", metres_per_unit=1.0, fy_per_height=2.0)
    file = io.BytesIO()
    Picture.fromarray(RGB).save(file, "PNG")
    lens = Intrinsics(fx_px=12, fy_px=12, cx_px=2.5, cy_px=1.5)

    def ask(http_port: int, grpc_port: int) -> None:
        options = BridgeOptions(latest=False, as_sent=False)
        with DepthClient(f"grpc://127.0.0.1:{grpc_port}") as client:
            (answer,) = DepthBridge(client, options).answers([frame(0, focal_px=12)])
        with DepthClient(f"http://127.0.0.1:{http_port}") as client:
            usual = client.predict(file.getvalue(), size="model")
            through = client.predict(file.getvalue(), size="model", lens=lens)
        assert (answer.result.scale_source, through.scale_source) == ("checkpoint+lens",) * 2
        np.testing.assert_array_equal(answer.result.depth, through.depth)
        np.testing.assert_allclose(through.depth, usual.depth * (12 / 3 / 2.0), rtol=1e-5)

    async with both_transports(settings(models=tmp_path, watch_interval_s=0.0)) as ports:
        await asyncio.to_thread(ask, *ports)


def test_another_lens_begins_another_stream(service: Served, client: DepthClient) -> None:
    frames = [frame(number, focal_px, b"\x05") for number, focal_px in enumerate((4, 4, 8, 8, 4))]
    answers = list(DepthBridge(client, EVERY).answers(frames))
    assert [answer.info.k[0] for answer in answers] == [4, 4, 8, 8, 4]
    assert [answer.depth.header.stamp.sec for answer in answers] == [0, 1, 2, 3, 4]
    streams = {request.request_id.split("/")[0] for request in service.engine.requests}
    assert len(streams) == 3


def test_a_picture_without_depth_is_left_out_and_told_to_the_log(
    client: DepthClient, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [frame(0, picture=b"\x05"), frame(1, picture=b"bad"), frame(2, picture=b"\x06")]
    answers = list(DepthBridge(client, EVERY).answers(frames))
    assert [answer.depth.header.stamp.sec for answer in answers] == [0, 2]
    assert "no depth for the picture at Time(sec=1" in caplog.text


def test_a_camera_that_is_not_calibrated_is_refused(client: DepthClient) -> None:
    blind = CameraFrame(header=HEADER, image=b"\x05", info=info(k=np.zeros(9), p=np.zeros(12)), lens=None)
    with pytest.raises(UnfitMessage, match="not calibrated"):
        list(DepthBridge(client).answers([blind]))


def test_pictures_wait_for_the_calibration_of_their_own_frame() -> None:
    pairing = Pairing()
    pairing.take_info(info(header=Header(frame_id="other")))
    assert pairing.take_image(image()) is None
    pairing.take_info(info())
    paired = pairing.take_image(image())
    assert paired is not None
    assert paired.header == HEADER
    np.testing.assert_array_equal(paired.image, RGB)


def test_pictures_without_a_calibration_are_told_of_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    pairing = Pairing()
    assert pairing.take_image(image()) is None
    assert "in frame 'camera_optical_frame', and CameraInfos of none at all" in caplog.text
    pairing = Pairing()
    pairing.take_info(info(header=Header(frame_id="other")))
    caplog.clear()
    for _ in range(10):
        assert pairing.take_image(image()) is None
    assert len(caplog.records) == 1
    assert "in frame 'camera_optical_frame', and CameraInfos of 'other'" in caplog.text


def test_a_slash_before_a_frame_s_name_means_nothing() -> None:
    pairing = Pairing()
    pairing.take_info(info(header=Header(frame_id="/camera_optical_frame")))
    paired = pairing.take_image(image())
    assert paired is not None
    assert paired.header.frame_id == "camera_optical_frame"


def test_a_calibration_of_a_larger_picture_is_scaled_and_one_of_another_shape_refused() -> None:
    pairing = Pairing()
    pairing.take_info(replace(info(focal_px=8.0), height=6, width=10))
    paired = pairing.take_image(image())
    assert paired is not None
    assert paired.lens is not None
    assert paired.lens.fx_px == 4.0
    pairing.take_info(replace(info(), height=10, width=6))
    with pytest.raises(UnfitMessage, match="5x3 and its CameraInfo is of 6x10"):
        pairing.take_image(image())


def test_what_is_odd_about_a_picture_is_told_to_the_log(
    client: DepthClient, caplog: pytest.LogCaptureFixture
) -> None:
    list(DepthBridge(client, EVERY).answers([frame(0, picture=b"odd")]))
    assert "this photograph is odd" in caplog.text


def test_a_feed_keeps_the_newest_where_nobody_reads_and_ends_for_every_reader() -> None:
    feed = Feed()
    for second in range(20):
        feed.put(frame(second))
    feed.close()
    assert [each.header.stamp.sec for each in feed] == list(range(13, 20))
    assert list(feed) == []


def test_callbacks_of_another_thread_are_answered_as_they_come(client: DepthClient) -> None:
    feed = Feed()
    answers = DepthBridge(client).answers(feed)
    for second in range(3):
        threading.Timer(0, feed.put, [frame(second, picture=bytes([second + 1]))]).start()
        assert next(answers).depth.header.stamp.sec == second
    feed.close()
    assert list(answers) == []


def test_records_fill_messages_as_rclpy_has_them() -> None:
    """Its lists of numbers are arrays, its matrices NumPy's, and its records are filled where they are."""
    stamp = SimpleNamespace(sec=0, nanosec=0)
    message = SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id=""), height=0, width=0)
    message.__dict__.update(distortion_model="", d=array.array("d"), k=np.zeros(9), r=np.zeros(9))
    message.__dict__.update(p=np.zeros(12), binning_x=0, binning_y=0)
    message.roi = SimpleNamespace(x_offset=9, y_offset=9, height=9, width=9, do_rectify=True)
    assert filled(message, info(d=np.array([0.1, 0.2]))) is message
    assert (stamp.sec, stamp.nanosec, message.header.frame_id) == (12, 345, "camera_optical_frame")
    assert message.d == array.array("d", [0.1, 0.2])
    np.testing.assert_array_equal(message.k, info().k)
    assert (message.roi.width, message.roi.do_rectify) == (0, False)
    picture = SimpleNamespace(header=message.header, height=0, width=0, encoding="", is_bigendian=0, step=0)
    picture.data = array.array("B")
    filled(picture, image())
    assert picture.data == array.array("B", image().data)
