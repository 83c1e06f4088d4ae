import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from depth_client import (
    DepthClient,
    FieldOfView,
    Intrinsics,
    InvalidImage,
    NotReady,
    Overloaded,
    Unauthenticated,
    folder,
)
from service.contract.request import Format
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.depth_client.served import TRANSPORTS, Served, Transport, depth_of, run_with_service, served

FRAMES = [bytes([number]) for number in range(1, 21)]


@pytest.fixture(params=TRANSPORTS)
def service(request: pytest.FixtureRequest) -> Iterator[Served]:
    with served(request.param) as running:
        yield running


@pytest.fixture
def client(service: Served) -> Iterator[DepthClient]:
    with DepthClient(service.address) as opened:
        yield opened


def test_each_frame_comes_back_in_order_with_its_depth(client: DepthClient) -> None:
    results = list(client.stream(FRAMES))
    assert [result.frame for result in results] == FRAMES
    assert [result.index for result in results] == list(range(20))
    for result in results:
        np.testing.assert_array_equal(result.unwrap().depth, depth_of(result.frame))
        assert (result.skipped, result.error) == (0, None)


def test_what_is_wanted_holds_for_every_frame(service: Served, client: DepthClient) -> None:
    lens = Intrinsics(fx_px=2, fy_px=3, cx_px=1, cy_px=1)
    (result,) = client.stream(FRAMES[:1], wire="uint16_mm", lens=lens, size="model", request_id="drive")
    (asked,) = service.engine.requests
    assert (asked.format, asked.size, asked.lens) == (Format.UINT16_MM, "model", lens)
    assert asked.request_id == result.unwrap().request_id == "drive/0"
    assert result.unwrap().intrinsics == lens
    assert result.unwrap().points().shape == (3, 5, 3)
    wide = FieldOfView(horizontal_deg=80)
    assert [each.error for each in client.stream(FRAMES[:2], lens=wide, steadiness=0.5)] == [None, None]


def test_no_more_frames_are_on_their_way_than_there_may_be(service: Served, client: DepthClient) -> None:
    assert len(list(client.stream(FRAMES, in_flight=3))) == 20
    assert service.engine.most_in_flight <= 3


def test_a_frame_that_fails_says_why_and_harms_no_other(client: DepthClient) -> None:
    results = list(client.stream([FRAMES[0], b"bad", FRAMES[1]]))
    assert [type(result.error) for result in results] == [type(None), InvalidImage, type(None)]
    with pytest.raises(InvalidImage, match="no image"):
        results[1].unwrap()
    np.testing.assert_array_equal(results[2].unwrap().depth, depth_of(FRAMES[1]))


def test_an_overload_of_a_frame_says_when_to_come_again(service: Served, client: DepthClient) -> None:
    service.engine.errors = [Overloaded("full", retry_after_s=0.25)]
    (result,) = client.stream(FRAMES[:1])
    assert isinstance(result.error, Overloaded)
    assert result.error.retry_after_s == 0.25


def test_where_only_the_latest_counts_older_frames_are_never_sent(
    service: Served, client: DepthClient
) -> None:
    """The camera gives 20 frames while the first one is answered: after it only the last is of use."""
    seen = threading.Event()
    all_given = threading.Event()

    def camera() -> Iterator[bytes]:
        yield FRAMES[0]
        assert seen.wait(10)
        yield from FRAMES[1:]
        all_given.set()

    results = client.stream(camera(), latest=True, in_flight=1)
    first = next(results)  # its place is free once it has been used
    seen.set()
    assert all_given.wait(10)
    later = list(results)
    assert first.frame == FRAMES[0]
    assert later[-1].frame == FRAMES[-1]
    assert len(later) <= 2  # one may have been on its way already
    assert sum(result.skipped for result in later) == 19 - len(later)
    assert len(service.engine.requests) == 1 + len(later)


def test_a_source_that_fails_is_heard_of_after_what_it_gave(client: DepthClient) -> None:
    def breaking() -> Iterator[bytes]:
        yield from FRAMES[:3]
        raise OSError("the camera is gone")

    for latest in (False, True):
        results = client.stream(breaking(), latest=latest)
        last = next(result for result in results if result.frame == FRAMES[2])
        assert last.error is None
        with pytest.raises(OSError, match="the camera is gone"):
            next(results)


def test_a_picture_that_cannot_be_read_ends_the_stream_with_its_reason(
    client: DepthClient, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        list(client.stream([tmp_path / "missing.jpg"]))


def test_leaving_early_lets_go_of_the_stream_and_of_its_source(service: Served, client: DepthClient) -> None:
    given = []
    closed = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                given.append(FRAMES[0])
                yield FRAMES[0]
        finally:
            closed.set()

    results = client.stream(endless())
    assert [next(results).index for _ in range(3)] == [0, 1, 2]
    results.close()
    assert len(given) <= 3 + 4 + 1
    del results
    assert client.predict(FRAMES[0]).minimum == 1.0  # the connection serves on


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stream_that_is_refused_says_why(transport: Transport) -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    with served(transport, keyring=keyring) as service, DepthClient(service.address) as client:
        with pytest.raises(Unauthenticated):
            list(client.stream(FRAMES))
        with DepthClient(service.address, api_key="right") as known:
            assert len(list(known.stream(FRAMES[:2]))) == 2


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_service_that_closes_answers_what_it_took_and_says_so(transport: Transport) -> None:
    with served(transport) as service, DepthClient(service.address) as client:
        first = threading.Event()

        def frames() -> Iterator[bytes]:
            yield FRAMES[0]
            assert first.wait(10)
            threading.Thread(target=service.stop).start()
            while True:
                yield FRAMES[1]

        results = client.stream(frames())
        assert next(results).index == 0
        first.set()
        with pytest.raises(NotReady):
            list(results)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_folder_streams_in_the_order_of_its_names(transport: Transport, tmp_path: Path) -> None:
    for number in (3, 1, 2):
        (tmp_path / f"{number}.jpg").write_bytes(bytes([number]))
    with served(transport) as service, DepthClient(service.address) as client:
        results = [(each.frame.name, each.unwrap().minimum) for each in client.stream(folder(tmp_path))]
    assert results == [("1.jpg", 1.0), ("2.jpg", 2.0), ("3.jpg", 3.0)]


LEFT_OPEN = """
import atexit, sys, threading, time

def tell():
    until = time.monotonic() + 10
    while threading.active_count() > 1 and time.monotonic() < until:
        time.sleep(0.01)
    print(threading.enumerate()[1:], flush=True)

atexit.register(tell)  # first of all, so that it is called last

from depth_client import DepthClient

client = DepthClient(sys.argv[1])
results = client.stream([bytes([1])] * 100)
assert next(results).index == 0 and threading.active_count() > 2
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_program_that_ends_in_the_midst_of_a_stream_ends(transport: Transport) -> None:
    done = run_with_service(transport, LEFT_OPEN)
    # What still ran then would hang Python's teardown, over gRPC only now and then.
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
