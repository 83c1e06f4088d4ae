import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from service.contract.errors import InvalidImage, NotReady, Overloaded, UnknownModel
from service.contract.request import CameraHeight, Colour, FieldOfView, Format, Intrinsics, KnownDistance
from service.rpc.calls import Answering
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.echo import EchoEngine
from tests.service.opened import grpc_channel, http_client, make_frontend

PHOTO = pb.PredictRequest(image=b"photo")


async def refusal(
    engine: EchoEngine, request: pb.PredictRequest = PHOTO, **call: object
) -> grpc.aio.AioRpcError:
    async with grpc_channel(make_frontend(engine)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await DepthStub(channel).Predict(request, **call)
    return refused.value


def details_of(
    error: grpc.aio.AioRpcError,
) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo]:
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(retry)
    return info, retry


async def test_an_image_is_answered_with_its_map_and_all_that_is_needed_to_read_it() -> None:
    async with grpc_channel(make_frontend(EchoEngine())) as channel:
        answer = await DepthStub(channel).Predict(PHOTO)
    assert answer.data == b"photo|png16|input"
    assert answer.format == pb.FORMAT_PNG16
    assert (answer.height_px, answer.width_px, answer.dtype) == (375, 1242, "<u2")
    assert (answer.scale, answer.unit, answer.scale_source) == (1 / 256, pb.UNIT_METRE, "checkpoint")
    assert (answer.minimum, answer.maximum, answer.invalid) == (2.0, 2.0, "0")
    assert (answer.model, answer.model_version, answer.batch_size) == ("echo", "1", 1)
    timings = answer.timings
    assert (timings.decode_ms, timings.queue_ms, timings.predict_ms) == (1.0, 2.0, 3.0)
    assert (timings.encode_ms, timings.total_ms) == (4.0, 10.0)


class Gone:
    """The context of a call whose client cancels in the very moment in which it is answered."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def set_trailing_metadata(self, metadata: object) -> None:
        pass

    async def abort(self, *_: object) -> None:
        raise grpc.aio.InternalError("execute_batch")


async def test_a_refusal_that_nobody_is_left_to_hear_is_no_error_of_ours() -> None:
    with pytest.raises(asyncio.CancelledError):
        async with Answering(make_frontend(EchoEngine()), Gone(), "Predict"):
            raise Overloaded("full", retry_after_s=1.0)


async def test_images_beyond_what_may_be_held_at_once_are_refused() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine, max_bodies_bytes=250)
    async with grpc_channel(frontend) as channel, asyncio.timeout(30):
        stub = DepthStub(channel)
        first = stub.Predict(pb.PredictRequest(image=bytes(100)))
        await engine.until_in_flight(1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Predict(pb.PredictRequest(image=bytes(51)))
        engine.gate.set()
        await first
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(refused.value)[1].retry_delay.seconds == 1
    assert frontend.budget.held_bytes == 0


async def test_both_transports_answer_the_same_bytes_for_the_same_image() -> None:
    frontend = make_frontend(EchoEngine())
    async with grpc_channel(frontend) as channel, http_client(frontend) as client:
        for wire in pb.Format.values():
            name = "png16" if wire == 0 else pb.Format.Name(wire).removeprefix("FORMAT_").lower()
            options = pb.Options(format=wire, lens=pb.Lens(horizontal_fov_deg=90))
            over_grpc = await DepthStub(channel).Predict(pb.PredictRequest(image=b"photo", options=options))
            over_http = await client.post(f"/v1/depth?format={name}&fov_deg=90", content=b"photo")
            assert over_grpc.data == over_http.content


async def test_the_options_reach_the_engine() -> None:
    engine = EchoEngine()
    options = pb.Options(
        model="student",
        model_version="7",
        format=pb.FORMAT_COLOR,
        size=pb.SIZE_MODEL,
        priority=-2,
        anchor=pb.Anchor(camera_height_m=1.65),
        lens=pb.Lens(intrinsics=pb.Lens.Intrinsics(fx_px=700, fy_px=701, cx_px=621, cy_px=187.5)),
        color=pb.Color(map="magma", far=80),
    )
    async with grpc_channel(make_frontend(engine)) as channel:
        await DepthStub(channel).Predict(pb.PredictRequest(image=b"photo", options=options))
    (request,) = engine.requests
    assert (request.model, request.version, request.priority) == ("student", "7", -2)
    assert (request.format, request.size, request.transport) == (Format.COLOR, "model", "grpc")
    assert request.anchor == CameraHeight(height_m=1.65)
    assert request.lens == Intrinsics(fx_px=700.0, fy_px=701.0, cx_px=621.0, cy_px=187.5)
    assert request.colour == Colour(map="magma", far=80.0)


async def test_an_answer_says_the_intrinsics_of_its_map_where_a_lens_was_given() -> None:
    lens = pb.Lens.Intrinsics(fx_px=700.1, fy_px=701, cx_px=621, cy_px=187.5)
    options = pb.Options(lens=pb.Lens(intrinsics=lens))
    async with grpc_channel(make_frontend(EchoEngine())) as channel:
        plain = await DepthStub(channel).Predict(PHOTO)
        measured = await DepthStub(channel).Predict(pb.PredictRequest(image=b"photo", options=options))
    assert not plain.HasField("intrinsics")
    assert measured.intrinsics == lens


async def test_a_known_distance_and_a_field_of_view_reach_the_engine_too() -> None:
    engine = EchoEngine()
    known = pb.Anchor.KnownDistance(x_px=1, y_px=2, distance_m=3)
    options = pb.Options(anchor=pb.Anchor(known_distance=known), lens=pb.Lens(horizontal_fov_deg=90))
    async with grpc_channel(make_frontend(engine)) as channel:
        await DepthStub(channel).Predict(pb.PredictRequest(image=b"photo", options=options))
    assert engine.requests[0].anchor == KnownDistance(x_px=1.0, y_px=2.0, distance_m=3.0)
    assert engine.requests[0].lens == FieldOfView(horizontal_deg=90.0)


@pytest.mark.parametrize(
    "request_",
    [
        pb.PredictRequest(),
        pb.PredictRequest(image=b"photo", options=pb.Options(format=99)),
        pb.PredictRequest(image=b"photo", options=pb.Options(size=99)),
        pb.PredictRequest(image=b"photo", options=pb.Options(format=pb.FORMAT_PLY, rectify="no")),
        pb.PredictRequest(image=b"photo", options=pb.Options(rectify="perhaps")),
        pb.PredictRequest(image=b"photo", options=pb.Options(lens=pb.Lens(horizontal_fov_deg=-1))),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(request_: pb.PredictRequest) -> None:
    error = await refusal(EchoEngine(), request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(error)[0].reason == "invalid_argument"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Overloaded("full", retry_after_s=2.3), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (NotReady("loading"), grpc.StatusCode.UNAVAILABLE),
        (UnknownModel("no such model"), grpc.StatusCode.NOT_FOUND),
        (InvalidImage("not an image"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_each_error_has_its_code_and_its_word(error: Exception, code: grpc.StatusCode) -> None:
    engine = EchoEngine()
    engine.error = error
    told = await refusal(engine)
    assert told.code() is code
    assert told.details() == str(error)
    assert details_of(told)[0].reason == error.code


async def test_a_full_server_says_when_to_come_again() -> None:
    engine = EchoEngine()
    engine.error = Overloaded("full", retry_after_s=2.25)
    told = await refusal(engine)
    assert details_of(told)[1].retry_delay.ToMilliseconds() == 2250
    assert dict(told.trailing_metadata())["retry-after"] == "3"


async def test_the_unexpected_is_logged_and_answered_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = EchoEngine()
    engine.error = RuntimeError("/secret/path")
    told = await refusal(engine)
    assert told.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(told.details()) + str(told.trailing_metadata())
    (record,) = [record for record in caplog.records if record.name == "service.rpc.errors"]
    assert "/secret/path" in str(record.exc_info)


async def test_a_call_s_deadline_reaches_the_engine_and_ours_bounds_it() -> None:
    engine = EchoEngine()
    async with grpc_channel(make_frontend(engine, request_timeout_s=20.0)) as channel:
        for timeout, bound in ((5.0, 5.0), (None, 20.0), (100.0, 20.0)):
            asked_s = time.monotonic()
            await DepthStub(channel).Predict(PHOTO, timeout=timeout)
            deadline_s = engine.requests[-1].deadline_s
            assert asked_s + bound - 0.1 < deadline_s < time.monotonic() + bound + 0.1  # gRPC rounds


async def test_a_cancelled_call_frees_its_place() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    async with grpc_channel(make_frontend(engine)) as channel:
        call = DepthStub(channel).Predict(PHOTO)
        await engine.until_in_flight(1)
        call.cancel()
        await engine.until_in_flight(0)
    assert engine.cancelled == 1


async def test_a_call_whose_deadline_passes_frees_its_place() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    async with grpc_channel(make_frontend(engine)) as channel:
        call = DepthStub(channel).Predict(PHOTO, timeout=0.5)
        await engine.until_in_flight(1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        await engine.until_in_flight(0)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert engine.cancelled == 1


async def test_a_client_that_vanishes_frees_its_place() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine)
    async with grpc_channel(frontend) as channel:
        call = asyncio.ensure_future(DepthStub(channel).Predict(PHOTO))
        await engine.until_in_flight(1)
        await channel.close()
        await engine.until_in_flight(0)
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_request_s_id_is_the_client_s_or_one_made_up() -> None:
    engine = EchoEngine()
    async with grpc_channel(make_frontend(engine)) as channel:
        call = DepthStub(channel).Predict(PHOTO, metadata=(("x-request-id", "order-7"),))
        assert (await call).request_id == "order-7"
        assert dict(await call.trailing_metadata())["x-request-id"] == "order-7"
        assert len((await DepthStub(channel).Predict(PHOTO)).request_id) == 32


async def test_a_photograph_of_many_megabytes_passes_and_one_beyond_the_bound_does_not() -> None:
    unbounded = (("grpc.max_receive_message_length", -1),)
    frontend = make_frontend(EchoEngine(), max_body_bytes=10_000_000)
    async with grpc_channel(frontend, options=unbounded) as channel:
        stub = DepthStub(channel)
        answer = await stub.Predict(pb.PredictRequest(image=b"x" * 10_000_000))
        assert len(answer.data) > 10_000_000
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Predict(pb.PredictRequest(image=b"x" * 10_100_000))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_without_a_valid_key_no_call_is_answered() -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"), images_per_s=0.5, burst=2.0)])
    async with grpc_channel(make_frontend(EchoEngine(), keyring)) as channel:
        stub = DepthStub(channel)
        for metadata in ((), (("authorization", "Bearer wrong"),), (("x-api-key", "wrong"),)):
            for call in (
                stub.Predict(PHOTO, metadata=metadata),
                stub.ListModels(pb.ListModelsRequest(), metadata=metadata),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Stream(_nothing(), metadata=metadata).read()
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_valid_key_opens_the_transport_until_its_rate_is_spent() -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"), images_per_s=0.5, burst=2.0)])
    async with grpc_channel(make_frontend(EchoEngine(), keyring)) as channel:
        stub = DepthStub(channel)
        await stub.Predict(PHOTO, metadata=(("authorization", "Bearer right"),))
        await stub.Predict(PHOTO, metadata=(("x-api-key", "right"),))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Predict(PHOTO, metadata=(("x-api-key", "right"),))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(refused.value)[0].reason == "rate_limited"
    assert 1900 < details_of(refused.value)[1].retry_delay.ToMilliseconds() <= 2000


async def test_the_models_are_listed() -> None:
    async with grpc_channel(make_frontend(EchoEngine())) as channel:
        (model,) = (await DepthStub(channel).ListModels(pb.ListModelsRequest())).models
    assert (model.name, model.version, model.state, model.default) == ("echo", "1", "ready", True)
    assert (model.height_px, model.width_px, model.unit) == (192, 640, pb.UNIT_METRE)


async def test_a_line_is_logged_with_the_call(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with grpc_channel(make_frontend(EchoEngine())) as channel:
        await DepthStub(channel).Predict(PHOTO)
    (line,) = [record for record in caplog.records if record.name == "service.access"]
    assert line.getMessage() == "Predict OK"
    assert line.caller == "anonymous"


async def _nothing() -> AsyncIterator[pb.StreamRequest]:
    await asyncio.sleep(10)
    yield pb.StreamRequest()
