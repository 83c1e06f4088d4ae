"""Each option, over each transport: read once, bounded once, and the same record at the end."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

import grpc
import httpx
import pytest

from service.contract.errors import InvalidArgument
from service.contract.formats import Format
from service.contract.messages import read_message, write_message
from service.contract.options import DepthOptions, LiveOptions, SceneOptions, read_options, schemas
from service.contract.request import DepthRequest
from service.kserve.parameters import InferParameters
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb import inference_pb2
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.rpc.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.service.echo import EchoEngine
from tests.service.kserve.flat import FlatEngine
from tests.service.opened import grpc_channel, http_client, make_frontend

Given = Mapping[str, str | int | float]
LENS: Given = {"fx_px": 700.0, "fy_px": 701.0, "cx_px": 0.0, "cy_px": 187.5}
GIVEN: list[Given] = [
    {"format": "ply", "ply_edges": "drop", "fov_deg": 60.0},
    {"format": "color", "colormap": "magma", "near": 1.5, "far": 80.0},
    {"model": "student", "version": "7", "priority": -2, "size": "model"},
    {"camera_height_m": 1.65, "fov_deg": 90.0},
    {
        "camera": "front",
        "rectify": "no",
        "ground": "yes",
        "sky": "far",
        "known_points": "1.5,2.0,3.0;4.0,5.0,6.0",
    },
    {**LENS, "known_x_px": 0.0, "known_y_px": 20.5, "known_distance_m": 3.0},
]
"""Together every option, zeros among them."""


def plain(request: DepthRequest) -> DepthRequest:
    """A request without what its transport adds."""
    return replace(
        request, image=b"", deadline_s=None, request_id="", transport="engine", caller="", stream=""
    )


def expected(kind: type[SceneOptions], given: Given) -> DepthRequest:
    return DepthRequest(image=b"", **read_options(kind, given.items()).request_fields())


def test_the_examples_of_this_test_name_every_option() -> None:
    assert {name for given in GIVEN for name in given} == set(DepthOptions.model_fields)


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("how", ["query", "form", "batch"])
async def test_an_option_is_the_same_in_a_query_and_in_a_form(given: Given, how: str) -> None:
    engine = EchoEngine()
    async with http_client(make_frontend(engine)) as client:
        if how == "query":
            response = await client.post(f"/v1/depth?{urlencode(given)}", content=b"photo")
        else:
            path = "/v1/depth" if how == "form" else "/v1/depth/batch"
            texts = {name: str(value) for name, value in given.items()}
            response = await client.post(path, files={"image": b"photo"}, data=texts)
    assert response.status_code == 200, response.text
    assert plain(engine.requests[0]) == expected(DepthOptions, given)


@pytest.mark.parametrize("given", GIVEN)
async def test_an_option_is_the_same_over_grpc_alone_and_in_a_stream(given: Given) -> None:
    engine = EchoEngine()
    options = pb.Options()
    write_message(options, given)
    async with grpc_channel(make_frontend(engine)) as channel:
        stub = DepthStub(channel)
        await stub.Predict(pb.PredictRequest(image=b"photo", options=options))
        config = pb.StreamRequest(config=pb.StreamConfig(options=options))
        frame = pb.StreamRequest(frame=pb.Frame(id=1, image=b"photo"))
        [_ async for _ in stub.Stream(iter([config, frame]))]
    assert [plain(request) for request in engine.requests] == [expected(DepthOptions, given)] * 2


@pytest.mark.parametrize("given", GIVEN)
async def test_an_option_is_the_same_as_a_parameter_of_the_inference_protocol(given: Given) -> None:
    known = {name: value for name, value in given.items() if name in SceneOptions.model_fields}
    engine = FlatEngine()
    request = inference_pb2.ModelInferRequest(model_name="echo", raw_input_contents=[b"\5\0\0\0photo"])
    request.inputs.add(name="image", datatype="BYTES", shape=[1])
    for name, value in known.items():
        kind = "string_param" if isinstance(value, str) else "double_param"
        setattr(request.parameters[name], kind, value)
    async with grpc_channel(make_frontend(engine)) as channel:
        await GRPCInferenceServiceStub(channel).ModelInfer(request)
    wanted = replace(expected(SceneOptions, known), format=Format.FLOAT32, model="echo")
    assert plain(engine.requests[0]) == wanted


async def test_a_stream_s_own_options_have_their_fields_in_grpc_s_message() -> None:
    given: Given = {"mode": "latest", "steadiness": 0.5, "max_in_flight": 2, "frame_timeout_ms": 500}
    assert set(given) == set(LiveOptions.model_fields) - set(DepthOptions.model_fields)
    config = pb.StreamConfig()
    write_message(config, given)
    assert (config.mode, config.steadiness) == (pb.MODE_LATEST_FRAME, 0.5)
    assert (config.max_in_flight, config.frame_timeout_ms) == (2, 500)


async def test_a_stream_is_held_steady_where_nothing_is_said_of_it() -> None:
    assert read_options(LiveOptions, read_message(pb.StreamConfig())).steadiness == 0.8
    assert read_options(LiveOptions, read_message(pb.StreamConfig(steadiness=0))).steadiness == 0.0


@pytest.mark.parametrize(
    "given", [[("scale_smoothing", "0.8")], list(read_message(pb.StreamConfig(scale_smoothing=0.8)))]
)
def test_the_option_of_the_last_release_is_refused_by_the_name_of_what_took_its_place(
    given: list[tuple[str, str | float]],
) -> None:
    with pytest.raises(InvalidArgument, match="'scale_smoothing' is gone; expected steadiness"):
        read_options(LiveOptions, given)


def test_a_zero_that_clients_of_the_last_release_always_send_counts_for_nothing() -> None:
    assert read_options(LiveOptions, [("scale_smoothing", "0.0")]) == LiveOptions()
    with pytest.raises(InvalidArgument, match="no option 'scale_smoothing'"):
        read_options(DepthOptions, [("scale_smoothing", "0.0")])


NUMBERS = [
    (kind, name, schema)
    for kind in (LiveOptions, InferParameters)
    for name, schema in schemas(kind).items()
    if schema["type"] in ("number", "integer")
]


@pytest.mark.parametrize(("kind", "name", "schema"), NUMBERS)
def test_every_number_has_bounds_and_what_lies_beyond_them_is_told(
    kind: type[SceneOptions], name: str, schema: Mapping[str, float]
) -> None:
    least, most = schema["minimum"], schema["maximum"]
    for beyond in (least - 1, most * 2 + 1, "nan", "inf", "-inf", "1e400", "wide", "²", "1" * 200):
        with pytest.raises(InvalidArgument, match=rf"^{name} is '.*'; expected a .*number from .* to "):
            read_options(kind, [(name, str(beyond))])
    with pytest.raises(InvalidArgument, match="500 characters; expected at most 256"):
        read_options(kind, [(name, "1" * 500)])


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_a_blank_option_is_one_that_is_not_given(blank: str) -> None:
    everything = [(name, blank) for name in LiveOptions.model_fields]
    assert read_options(LiveOptions, everything) == LiveOptions()
    with pytest.raises(InvalidArgument, match="no option 'fromat'"):
        read_options(LiveOptions, [("fromat", blank)])
    with pytest.raises(InvalidArgument, match="given twice"):
        read_options(LiveOptions, [("size", blank), ("size", blank)])


TINY = (5e-324, 1e-300)


@pytest.mark.parametrize("value", TINY)
@pytest.mark.parametrize(
    "name", [name for name, schema in schemas(DepthOptions).items() if schema.get("minimum", 0) > 0]
)
async def test_a_number_near_nothing_is_refused_over_http_and_grpc(name: str, value: float) -> None:
    frontend = make_frontend(EchoEngine())
    async with http_client(frontend) as client, grpc_channel(frontend) as channel:
        response = await client.post(f"/v1/depth?{name}={value}", content=b"photo")
        assert response.status_code == 400, response.text
        assert f"{name} is '{value}'" in response.json()["error"]["message"]
        options = pb.Options()
        write_message(options, {name: value})
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await DepthStub(channel).Predict(pb.PredictRequest(image=b"photo", options=options))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected a number from" in str(refused.value.details())


@pytest.fixture
async def client():
    async with http_client(make_frontend(EchoEngine())) as opened:
        yield opened


@pytest.mark.parametrize(
    "path", ["/v1/depth?fov_deg=5e-324", "/v1/depth/batch?fov_deg=5e-324", "/v1/depth?size=huge"]
)
async def test_what_is_wrong_with_the_query_is_told_before_the_body_is_read(
    client: httpx.AsyncClient, path: str
) -> None:
    form = {"content-type": "multipart/form-data; boundary=x"} if "batch" in path else {}
    response = await client.post(path, content=b"no form, and no image", headers=form)
    assert response.status_code == 400
    assert "expected" in response.json()["error"]["message"]
    assert "form" not in response.json()["error"]["message"]
