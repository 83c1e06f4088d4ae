import asyncio
import base64
import time
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.contract.errors import InvalidImage, NotReady, Overloaded
from service.rpc.pb import inference_pb2 as pb
from service.rpc.pb.inference_pb2_grpc import GRPCInferenceServiceStub as Stub
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.kserve.flat import FlatEngine
from tests.service.kserve.wire import PHOTO
from tests.service.opened import grpc_channel, make_frontend

Input = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor


@pytest.fixture
def engine() -> FlatEngine:
    return FlatEngine()


@pytest.fixture
async def stub(engine: FlatEngine) -> AsyncIterator[Stub]:
    async with grpc_channel(make_frontend(engine)) as channel:
        yield Stub(channel)


def raw(*images: bytes, **also: object) -> pb.ModelInferRequest:
    """A request whose photographs come as tritonclient sends them."""
    content = b"".join(len(image).to_bytes(4, "little") + image for image in images)
    tensor = Input(name="image", datatype="BYTES", shape=[len(images)])
    return pb.ModelInferRequest(model_name="echo", inputs=[tensor], raw_input_contents=[content], **also)


def typed(name: str, datatype: str, shape: list[int], **contents: object) -> pb.ModelInferRequest:
    tensor = Input(name=name, datatype=datatype, shape=shape, contents=pb.InferTensorContents(**contents))
    return pb.ModelInferRequest(model_name="echo", inputs=[tensor])


def numbers(response: pb.ModelInferResponse) -> list[float]:
    return np.frombuffer(response.raw_output_contents[0], "<f4").tolist()


async def refusal(stub: Stub, request: pb.ModelInferRequest) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ModelInfer(request)
    return refused.value


async def test_the_server_and_its_model_are_live_and_ready(stub: Stub, engine: FlatEngine) -> None:
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live
    assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
    assert (await stub.ModelReady(pb.ModelReadyRequest(name="echo", version="1"))).ready
    engine.live = engine.ready = False
    assert not (await stub.ServerLive(pb.ServerLiveRequest())).live
    assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready


async def test_what_is_told_of_a_model_is_what_http_tells(stub: Stub) -> None:
    metadata = await stub.ModelMetadata(pb.ModelMetadataRequest(name="echo"))
    assert [(each.name, list(each.shape)) for each in metadata.inputs] == [
        ("image", [-1, 1]),
        ("rgb_uint8", [-1, -1, -1, 3]),
        ("rgb_fp32", [-1, -1, -1, 3]),
    ]
    config = (await stub.ModelConfig(pb.ModelConfigRequest(name="echo"))).config
    assert config.max_batch_size == 64
    assert config.parameters["unit"].string_value == "metre"
    assert {"height", "width", "min_depth", "max_depth"} < set(config.parameters)
    assert [each.data_type for each in config.input] == [pb.TYPE_STRING, pb.TYPE_UINT8, pb.TYPE_FP32]
    assert config.input[1].format == pb.ModelInput.FORMAT_NHWC
    for name in ("", "echo"):
        statistics = await stub.ModelStatistics(pb.ModelStatisticsRequest(name=name))
        (one,) = statistics.model_stats
        assert one.inference_stats.HasField("success")
    server = await stub.ServerMetadata(pb.ServerMetadataRequest())
    assert (server.name, server.version) == ("vfm-depth", "1")


async def test_an_unknown_model_is_not_found(stub: Stub) -> None:
    for call, request in (
        (stub.ModelMetadata, pb.ModelMetadataRequest(name="nobody")),
        (stub.ModelConfig, pb.ModelConfigRequest(name="echo", version="9")),
        (stub.ModelStatistics, pb.ModelStatisticsRequest(name="nobody")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(request)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert "Request for unknown model" in str(refused.value.details())  # Triton's examples look for it
    for asked in (pb.ModelReadyRequest(name="nobody"), pb.ModelReadyRequest(name="echo", version="9")):
        assert not (await stub.ModelReady(asked)).ready


async def test_metadata_can_be_read_by_mlserver_and_kserve_whose_field_6_are_of_different_types(
    stub: Stub,
) -> None:
    metadata = await stub.ModelMetadata(pb.ModelMetadataRequest(name="echo"))
    assert {descriptor.number for descriptor, _ in metadata.ListFields()} == {1, 2, 3, 4, 5}


async def test_hints_of_other_clients_that_carry_nothing_are_passed_over(stub: Stub) -> None:
    request = raw(PHOTO)
    request.inputs[0].parameters["binary_data_size"].int64_param = 4 + len(PHOTO)  # KServe's client
    request.parameters["content_type"].string_param = "np"  # MLServer's
    for codec in ("raw", "base64"):
        request.inputs[0].parameters["content_type"].string_param = codec
        assert numbers(await stub.ModelInfer(request)) == [7.0] * 6
    packed = raw(base64.b64encode(PHOTO))
    packed.inputs[0].parameters["content_type"].string_param = "base64"
    assert numbers(await stub.ModelInfer(packed)) == [7.0] * 6
    pixels = typed("rgb_uint8", "UINT8", [1, 1, 1, 3], uint_contents=[3, 4, 5])
    pixels.inputs[0].parameters["content_type"].string_param = "np"
    assert (await stub.ModelInfer(pixels)).model_name == "echo"


@pytest.mark.parametrize(
    ("name", "value"),
    [("shared_memory_region", "a"), ("content_type", "pd"), ("classification", "1")],
)
async def test_what_an_input_s_parameters_ask_for_is_never_dropped_unsaid(
    stub: Stub, name: str, value: str
) -> None:
    request = raw(PHOTO)
    request.inputs[0].parameters[name].string_param = value
    refused = await refusal(stub, request)
    assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert name in str(refused.details())


async def test_an_overload_tells_grpc_s_own_retries_how_long_to_wait(stub: Stub, engine: FlatEngine) -> None:
    engine.error = Overloaded("full", retry_after_s=1.5)
    refused = await refusal(stub, raw(PHOTO))
    assert dict(refused.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "1500"


async def test_tensors_beyond_what_may_be_held_at_once_are_refused(engine: FlatEngine) -> None:
    engine.gate.clear()
    frontend = make_frontend(engine, max_bodies_bytes=400)
    async with grpc_channel(frontend) as channel, asyncio.timeout(30):
        stub = Stub(channel)
        first = stub.ModelInfer(raw(bytes(100)))
        await engine.until_in_flight(1)
        refused = await refusal(stub, raw(bytes(51)))
        engine.gate.set()
        await first
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert frontend.budget.held_bytes == 0


async def test_raw_contents_are_answered_raw(stub: Stub) -> None:
    answer = await stub.ModelInfer(raw(b"\x05a", b"\x09b", id="seven"))
    assert (answer.model_name, answer.model_version, answer.id) == ("echo", "1", "seven")
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("depth", "FP32", [2, 2, 3])
    assert output.parameters["unit"].string_param == "metre"
    assert output.parameters["maximum"].string_param == "9.0"  # what the stubs of all servers can read
    assert numbers(answer) == [5.0] * 6 + [9.0] * 6


async def test_typed_contents_of_every_datatype_are_read(stub: Stub, engine: FlatEngine) -> None:
    shape = [1, 2, 2, 3]
    values = list(range(12))
    answers = [
        await stub.ModelInfer(typed("image", "BYTES", [1], bytes_contents=[PHOTO])),
        await stub.ModelInfer(typed("rgb_uint8", "UINT8", shape, uint_contents=values)),
        await stub.ModelInfer(
            typed("rgb_fp32", "FP32", shape, fp32_contents=[value / 255 for value in values])
        ),
    ]
    assert [list(answer.outputs[0].shape) for answer in answers] == [[1, 2, 3], [1, 2, 2], [1, 2, 2]]
    assert engine.requests[0].image == PHOTO
    for request in engine.requests[1:]:
        assert request.image.tolist() == np.arange(12).reshape(2, 2, 3).tolist()


async def test_depth_comes_typed_where_it_is_asked_for_so(stub: Stub) -> None:
    output = Output(name="depth", parameters={"binary_data": pb.InferParameter(bool_param=False)})
    answer = await stub.ModelInfer(raw(PHOTO, outputs=[output]))
    assert list(answer.outputs[0].contents.fp32_contents) == [7.0] * 6
    assert not answer.raw_output_contents


async def test_more_numbers_than_may_come_typed_are_refused_with_the_way_out() -> None:
    output = Output(name="depth", parameters={"binary_data": pb.InferParameter(bool_param=False)})
    async with grpc_channel(make_frontend(FlatEngine(), json_max_pixels=5)) as channel:
        stub = Stub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="6 numbers are more than the 5 allowed") as refused:
            await stub.ModelInfer(raw(PHOTO, outputs=[output]))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await stub.ModelInfer(raw(PHOTO))).raw_output_contents


async def test_parameters_and_the_call_s_deadline_reach_the_engine(stub: Stub, engine: FlatEngine) -> None:
    parameters = {
        "size": pb.InferParameter(string_param="model"),
        "priority": pb.InferParameter(uint64_param=8),
        "fov_deg": pb.InferParameter(double_param=90.0),
        "sequence_start": pb.InferParameter(bool_param=True),
    }
    asked_s = time.monotonic()
    await stub.ModelInfer(raw(PHOTO, parameters=parameters), timeout=5)
    answered_s = time.monotonic()
    (request,) = engine.requests
    assert (request.size, request.priority, request.transport) == ("model", -3, "kserve_grpc")
    assert asked_s + 4.9 < (request.deadline_s or 0) < answered_s + 5.1  # gRPC rounds up what it sends


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.ModelInferRequest(model_name="echo"), "0 inputs"),
        (raw(), "positive whole numbers"),
        (pb.ModelInferRequest(inputs=raw(PHOTO).inputs, raw_input_contents=[b"", b""]), "2 raw contents"),
        (typed("rgb_uint8", "UINT8", [1, 1, 1, 3], uint_contents=[1, 2, 256]), "from 0 to 255"),
        (typed("rgb_uint8", "UINT8", [1, 1, 1, 3], int_contents=[1, 2, 3]), "0 elements; expected 3"),
        (typed("rgb_uint8", "INT8", [1, 1, 1, 3], int_contents=[1, 2, 3]), "datatype 'INT8'"),
        (raw(PHOTO, parameters={"size": pb.InferParameter()}), "'size' has no value"),
        (raw(PHOTO, outputs=[Output(name="colour")]), "no output 'colour'"),
    ],
)
async def test_what_is_wrong_is_an_invalid_argument(
    stub: Stub, request_: pb.ModelInferRequest, reason: str
) -> None:
    error = await refusal(stub, request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason in (error.details() or "")


async def test_errors_have_the_codes_that_they_have_at_our_other_service(
    stub: Stub, engine: FlatEngine
) -> None:
    for error, code in (
        (InvalidImage("no image"), grpc.StatusCode.INVALID_ARGUMENT),
        (Overloaded("full", retry_after_s=2.0), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (NotReady("soon"), grpc.StatusCode.UNAVAILABLE),
    ):
        engine.error = error
        told = await refusal(stub, raw(PHOTO))
        assert (told.code(), told.details()) == (code, str(error))


# Streams


async def test_a_stream_s_requests_are_answered_in_order_under_their_ids(stub: Stub) -> None:
    call = stub.ModelStreamInfer()
    for number in range(20):
        await call.write(raw(bytes([number + 1]), id=str(number)))
    await call.done_writing()
    answers = [answer async for answer in call]
    assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(20)]
    assert [numbers(answer.infer_response)[0] for answer in answers] == list(range(1, 21))
    assert all(answer.infer_response.parameters["triton_final_response"].bool_param for answer in answers)
    assert not any(answer.error_message for answer in answers)


async def test_a_request_that_fails_is_told_under_its_id_and_ends_no_stream(
    stub: Stub, engine: FlatEngine
) -> None:
    call = stub.ModelStreamInfer()
    async with asyncio.timeout(30):
        for number, error in enumerate((InvalidImage("no image"), RuntimeError("secret"), None)):
            engine.error = error
            await call.write(raw(PHOTO, id=str(number)))
            answer = await call.read()
            assert bool(answer.error_message) == (error is not None)
            assert "secret" not in answer.error_message
            if not isinstance(error, RuntimeError):
                assert answer.infer_response.id == str(number)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_a_stream_is_bounded_and_leaving_it_cancels_what_runs(engine: FlatEngine) -> None:
    engine.gate.clear()
    frontend = make_frontend(engine, max_stream_frames=3, max_streams=1)
    async with grpc_channel(frontend) as channel:
        call = Stub(channel).ModelStreamInfer()
        for number in range(5):
            await call.write(raw(PHOTO, id=str(number)))
        await engine.until_in_flight(3)
        second = Stub(channel).ModelStreamInfer()
        await second.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await second.read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        call.cancel()
        await engine.until_in_flight(0)
    assert engine.most_in_flight == 3


# Keys and health


async def test_keys_are_asked_for_as_at_every_transport(engine: FlatEngine) -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    ours, admins = (("authorization", "Bearer right"),), (("authorization", "Bearer master"),)
    async with grpc_channel(make_frontend(engine, keyring), admin_key="master") as channel:
        stub = Stub(channel)
        load = pb.RepositoryModelLoadRequest(model_name="echo")
        unload = pb.RepositoryModelUnloadRequest(model_name="echo")
        index = pb.RepositoryIndexRequest()
        assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
        assert (await stub.ModelInfer(raw(PHOTO), metadata=ours)).outputs
        for call, request in (
            (stub.ModelInfer, raw(PHOTO)),
            (stub.ServerMetadata, pb.ServerMetadataRequest()),
            (stub.RepositoryIndex, index),
            (stub.RepositoryModelLoad, load),
            (stub.RepositoryModelUnload, unload),
        ):
            for metadata in ((), ours) if "Repository" in type(request).__name__ else ((), admins):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call(request, metadata=metadata)
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        (listed,) = (await stub.RepositoryIndex(index, metadata=admins)).models
        assert (listed.name, listed.version, listed.state) == ("echo", "1", "READY")
        await stub.RepositoryModelLoad(load, metadata=admins)
        await stub.RepositoryModelUnload(unload, metadata=admins)
        load.parameters["config"].string_param = "{}"
        with pytest.raises(grpc.aio.AioRpcError, match="config"):
            await stub.RepositoryModelLoad(load, metadata=admins)
    assert engine.admin_calls == [("reload", "echo"), ("unload", "echo")]


async def test_without_an_admin_key_nobody_opens_the_repository(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.RepositoryIndex(pb.RepositoryIndexRequest(), metadata=(("authorization", "Bearer x"),))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_service_is_known_to_health_checks(engine: FlatEngine) -> None:
    async with grpc_channel(make_frontend(engine)) as channel:
        asked = health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")
        answer = await health_pb2_grpc.HealthStub(channel).Check(asked)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
