import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from depth_client import (
    CameraHeight,
    Colour,
    DeadlineExceeded,
    DepthClient,
    FieldOfView,
    Intrinsics,
    InvalidArgument,
    InvalidImage,
    KnownDistance,
    KnownPoints,
    NotReady,
    Overloaded,
    Regions,
    Retry,
    ServiceError,
    Tls,
    Unauthenticated,
    Unreachable,
)
from service.contract.errors import InferenceFailed
from service.contract.request import DepthRequest, Format
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.certificates import Authority
from tests.depth_client.served import TRANSPORTS, RampEngine, Served, Transport, depth_of, served
from tests.service.contract.test_errors import tree

ONCE = Retry(attempts=1)
PHOTO = b"\x07photo"


@pytest.fixture(params=TRANSPORTS)
def service(request: pytest.FixtureRequest) -> Iterator[Served]:
    with served(request.param) as running:
        yield running


@pytest.fixture
def client(service: Served) -> Iterator[DepthClient]:
    with DepthClient(service.address) as opened:
        yield opened


def test_depth_comes_in_metres_with_everything_that_is_known_of_it(client: DepthClient) -> None:
    result = client.predict(PHOTO)
    np.testing.assert_array_equal(result.depth, depth_of(PHOTO))
    assert result.depth.dtype == np.float32
    assert result.depth.flags.writeable
    assert (result.unit, result.scale_source) == ("metre", "checkpoint")
    assert (result.minimum, result.maximum) == (7.0, 10.5)
    assert not result.invalid.any()
    assert (result.model, result.model_version, result.batch_size) == ("echo", "1", 1)
    phases = {"decode": 0.001, "queue": 0.002, "predict": 0.003, "encode": 0.004, "total": 0.01}
    assert result.timings == pytest.approx(phases)
    assert result.round_trip_s > 0


def test_what_is_odd_about_a_photograph_is_said_beside_its_depth(client: DepthClient) -> None:
    assert client.predict(PHOTO).notice == ""
    assert client.predict(b"odd").notice == "this photograph is odd"
    noticed = [each.unwrap().notice for each in client.stream([PHOTO, b"odd"])]
    assert noticed == ["", "this photograph is odd"]


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_numbers_may_be_numpy_s(client: DepthClient, service: Served, kind: type) -> None:
    camera = np.array([[500, 0, 320], [0, 510, 240], [0, 0, 1]], kind)
    lens = Intrinsics(fx_px=camera[0, 0], fy_px=camera[1, 1], cx_px=camera[0, 2], cy_px=camera[1, 2])
    client.predict(PHOTO, lens=lens, anchor=CameraHeight(height_m=kind(2)), priority=np.int64(-2))
    asked = service.engine.requests[-1]
    assert (asked.lens, asked.anchor) == (
        Intrinsics(fx_px=500.0, fy_px=510.0, cx_px=320.0, cy_px=240.0),
        CameraHeight(height_m=2.0),
    )
    assert asked.priority == -2
    known = KnownDistance(x_px=camera[0, 2], y_px=kind(3), distance_m=kind(4))
    client.predict(PHOTO, lens=FieldOfView(horizontal_deg=kind(90)), anchor=known)
    assert service.engine.requests[-1].anchor == KnownDistance(x_px=320.0, y_px=3.0, distance_m=4.0)


def test_a_folder_is_told_from_a_picture(client: DepthClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="is a folder; expected one picture, or stream"):
        client.predict(tmp_path)


@pytest.mark.parametrize(
    ("wire", "error_m"),
    [("float32", 0.0), ("float16", 0.004), ("png16", 1 / 512), ("uint16_mm", 6e-4), ("png16_mm", 6e-4)],
)
def test_the_scale_is_applied_however_depth_travels(client: DepthClient, wire: str, error_m: float) -> None:
    result = client.predict(PHOTO, wire=wire)
    assert np.abs(result.depth - depth_of(PHOTO)).max() <= error_m


def test_where_there_is_no_depth_there_is_no_number(client: DepthClient) -> None:
    far = bytes([64])  # 64 m and more: 65.536 m is the last that 16 bits of millimetres hold
    result = client.predict(far, wire="uint16_mm")
    beyond = depth_of(far) > 65.5355
    assert 0 < beyond.sum() < beyond.size
    np.testing.assert_array_equal(result.invalid, beyond)
    np.testing.assert_array_equal(np.isnan(result.depth), beyond)


def test_every_option_reaches_the_service(service: Served, client: DepthClient) -> None:
    lens = Intrinsics(fx_px=700.5, fy_px=701, cx_px=3, cy_px=2)
    known = KnownDistance(x_px=1, y_px=2, distance_m=3)
    client.predict(PHOTO, model="student", version="7", size="model", priority=-2, lens=lens, anchor=known)
    wide = FieldOfView(horizontal_deg=90.5)
    client.predict(PHOTO, lens=wide, anchor=CameraHeight(height_m=1.6), wire="float16")
    client.encode(PHOTO, "color", colour=Colour(map="magma", near=1.5, far=80))
    first, second, third = service.engine.requests
    assert (first.model, first.version, first.size, first.priority) == ("student", "7", "model", -2)
    assert (first.lens, first.anchor, first.format) == (lens, known, Format.FLOAT32)
    assert (second.lens, second.anchor) == (wide, CameraHeight(height_m=1.6))
    assert (second.format, second.size, second.model) == (Format.FLOAT16, "input", None)
    assert third.colour == Colour(map="magma", near=1.5, far=80)


def test_a_lens_comes_back_as_the_map_s_own_and_gives_points(client: DepthClient) -> None:
    lens = Intrinsics(fx_px=2, fy_px=4, cx_px=2.5, cy_px=1.5)
    result = client.predict(PHOTO, lens=lens)
    assert result.intrinsics == lens
    points = result.points()
    z = depth_of(PHOTO)
    np.testing.assert_allclose(points[..., 2], z)
    np.testing.assert_allclose(points[1, 2], (0, 0, z[1, 2]), atol=1e-6)  # its centre is the optical axis
    np.testing.assert_allclose(points[0, 4], (z[0, 4] * 2 / 2, z[0, 4] * -1 / 4, z[0, 4]))
    with pytest.raises(InvalidArgument, match="points need a lens"):
        client.predict(PHOTO).points()


def test_files_come_as_they_are(client: DepthClient) -> None:
    cloud = client.encode(PHOTO, "ply", lens=Intrinsics(fx_px=2, fy_px=4, cx_px=2.5, cy_px=1.5))
    assert cloud.body.startswith(b"ply\nformat binary")
    assert (cloud.media_type, cloud.format) == ("model/ply", Format.PLY)


def test_models_are_described(client: DepthClient) -> None:
    (model,) = client.models()
    assert (model.name, model.version, model.state, model.default) == ("echo", "1", "ready", True)
    assert (model.height, model.width, model.unit, model.problem) == (192, 640, "metre", None)


def test_request_ids_and_traces_go_with_the_request(service: Served) -> None:
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    with DepthClient(service.address, propagate=lambda headers: headers.update(traceparent=parent)) as client:
        assert client.predict(PHOTO, request_id="mine-1").request_id == "mine-1"
        made_up = client.predict(PHOTO).request_id
    assert len(made_up) == 32
    assert [request.request_id for request in service.engine.requests] == ["mine-1", made_up]
    assert {trace and trace.trace_id for trace in service.engine.traces} == {"ab" * 16}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_error_of_the_service_is_raised_as_itself(transport: Transport) -> None:
    with served(transport) as service, DepthClient(service.address, retry=ONCE) as client:
        for kind in tree():
            service.engine.errors = [kind("told", retry_after_s=2.0)]
            with pytest.raises(ServiceError) as raised:
                client.predict(PHOTO, request_id="mine-2")
            assert type(raised.value) is (kind if kind.code != "internal" else ServiceError)
            assert (str(raised.value), raised.value.request_id) == ("told", "mine-2")
            assert raised.value.retry_after_s == 2.0


def test_what_was_refused_for_now_is_asked_again(service: Served, client: DepthClient) -> None:
    service.engine.errors = [NotReady("loading"), NotReady("loading")]
    result = client.predict(PHOTO)
    np.testing.assert_array_equal(result.depth, depth_of(PHOTO))
    assert len(service.engine.requests) == 3
    assert len({request.request_id for request in service.engine.requests}) == 1
    assert result.round_trip_s > 0.3


def test_the_service_says_when_to_ask_again() -> None:
    with served("grpc") as service, DepthClient(service.address) as client:
        service.engine.errors = [Overloaded("full", retry_after_s=0.4)]
        assert client.predict(PHOTO).round_trip_s >= 0.4


@pytest.mark.parametrize(
    "error", [InvalidImage("no"), InferenceFailed("no"), Overloaded("no"), DeadlineExceeded("no")]
)
def test_what_would_fail_again_is_asked_once(
    service: Served, client: DepthClient, error: ServiceError
) -> None:
    service.engine.errors = [error]
    with pytest.raises(type(error)):
        client.predict(PHOTO)
    assert len(service.engine.requests) == 1


def test_a_wait_beyond_the_deadline_is_not_waited(service: Served, client: DepthClient) -> None:
    service.engine.errors = [Overloaded("full", retry_after_s=60)]
    began_s = time.monotonic()
    with pytest.raises(Overloaded):
        client.predict(PHOTO, timeout_s=20)
    assert time.monotonic() - began_s < 10


def test_a_call_ends_at_its_deadline(service: Served, client: DepthClient) -> None:
    service.call(service.engine.gate.clear)
    with pytest.raises(DeadlineExceeded):
        client.predict(PHOTO, timeout_s=1.0)
    (request,) = service.engine.requests
    assert request.deadline_s is not None
    assert request.deadline_s - time.monotonic() < 1.0  # the service knew it, too


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_where_nobody_listens_it_says_so(transport: Transport) -> None:
    with DepthClient(f"{transport}://127.0.0.1:{free_port()}", retry=ONCE) as client:
        with pytest.raises(Unreachable):
            client.predict(PHOTO)
        assert not client.is_ready()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_readiness_is_the_service_s_own(transport: Transport) -> None:
    loading = RampEngine()
    loading.ready = False
    with served(transport) as service, DepthClient(service.address) as client:
        assert client.is_ready()
    with served(transport, loading) as service, DepthClient(service.address) as client:
        assert not client.is_ready()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_key_opens_the_transport(transport: Transport) -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    with served(transport, keyring=keyring) as service:
        with DepthClient(service.address) as client, pytest.raises(Unauthenticated):
            client.predict(PHOTO)
        with DepthClient(service.address, api_key="right") as client:
            assert client.predict(PHOTO).minimum == 7.0
            assert "right" not in repr(vars(client))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_certificates_are_checked_and_shown(transport: Transport, tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    certificate, key = ours.sign("server")
    mine = dict(zip(("cert", "key"), ours.sign("client"), strict=True))
    secured = {"tls_cert": certificate, "tls_key": key, "tls_client_ca": ours.certificate}
    with served(transport, **secured) as service:
        with DepthClient(service.address, tls=Tls(ca=ours.certificate, **mine)) as client:
            assert client.predict(PHOTO).minimum == 7.0
            assert [frame.unwrap().minimum for frame in client.stream([PHOTO])] == [7.0]
        for tls in (None, Tls(ca=theirs.certificate, **mine), Tls(ca=ours.certificate)):
            with DepthClient(service.address, tls=tls, retry=ONCE) as client, pytest.raises(Unreachable):
                client.predict(PHOTO)


@pytest.mark.parametrize(
    "address", ["localhost:8000", "ftp://host", "grpc://host", "grpc://host:1/path", "http://me:secret@host"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument, match="the address is"):
        DepthClient(address)


def test_what_makes_no_sense_is_refused_before_it_is_sent(service: Served, client: DepthClient) -> None:
    for wrong in (
        lambda: client.predict(PHOTO, anchor=KnownPoints(points=())),
        lambda: client.encode(PHOTO, Format.PLY, rectify=False),
        lambda: client.predict(PHOTO, camera="front", lens=Intrinsics(fx_px=2, fy_px=4, cx_px=2, cy_px=1)),
        lambda: Regions(boxes=((1, 1, 0, 2),)),
        lambda: client.predict(PHOTO, timeout_s=0),
        lambda: client.predict(np.zeros((2, 2), np.float32)),
        lambda: client.stream([PHOTO], steadiness=1.1),
        lambda: client.stream([PHOTO], smoothing=0.8),  # type: ignore[call-arg]
        lambda: client.stream([PHOTO], in_flight=0),
        lambda: DepthClient("http://localhost:1", tls=Tls()),
        lambda: Tls(cert=Path("cert.pem")),
        lambda: Retry(attempts=0),
    ):
        with pytest.raises(InvalidArgument):
            wrong()
    assert not service.engine.requests


def test_records_of_requests_stay_within_their_own_bounds() -> None:
    with pytest.raises(InvalidArgument, match="a point cloud is of the rectified picture"):
        DepthRequest(image=b"", format=Format.PLY, rectify=False)
