"""What answers say, in headers, in JSON and in gRPC's message: everything arrives."""

from dataclasses import fields, replace

import orjson
import pytest

from service.contract.answer import DepthAnswer
from service.contract.basis import Ground, KnownFit
from service.contract.formats import Format
from service.contract.regions import Distance, Distances
from service.contract.request import Intrinsics
from service.contract.wire import (
    HEADERS,
    read_headers,
    read_json,
    read_response,
    write_headers,
    write_json,
    write_response,
)
from service.rpc.pb import depth_pb2 as pb

FULL = DepthAnswer(
    body=b"depth",
    media_type="image/png",
    format=Format.PNG16_MM,
    height=3,
    width=4,
    dtype=">u2",
    scale=0.001,
    unit="metre",
    scale_source="known-distance",
    minimum=1.25,
    maximum=80.5,
    invalid="0",
    model="student",
    model_version="7",
    request_id="id/1",
    timings={"decode": 0.001, "queue": 0.0, "predict": 0.25, "encode": 0.002, "total": 0.5},
    batch_size=3,
    intrinsics=Intrinsics(fx_px=700.1, fy_px=701.0, cx_px=-0.5, cy_px=1e-3),
    notice="it is dark",
    licence="CC-BY-NC-4.0",
    fy_per_height=1.92,
    uncertainty=0.031,
    rectified="yes",
    fit=KnownFit(points=5, agreeing=4, residual=0.0625, shift=True),
    ground=Ground(height=1.65, pitch_deg=-0.5, share=0.75, error=0.0125),
)
PLAIN = replace(
    FULL,
    unit="relative",
    intrinsics=None,
    notice="",
    licence="",
    batch_size=1,
    scale_source="none",
    fy_per_height=None,
    uncertainty=None,
    rectified="none",
    fit=None,
    ground=None,
)
MEASURED = replace(
    FULL,
    body=b"",
    distances=Distances(
        points=(Distance(median=2.5, p10=2.0, p90=3.0, nearest=1.5, xyz=(-1.0, 0.25, 2.5), share=0.5),),
        boxes=(Distance(share=0.0),),
    ),
)


def test_the_full_answer_of_this_test_has_no_field_as_it_is_without_being_said() -> None:
    unsaid = [each.name for each in fields(DepthAnswer) if getattr(FULL, each.name) == each.default]
    assert unsaid == ["distances"]  # no header has them


@pytest.mark.parametrize("answer", [FULL, PLAIN])
def test_headers_say_all_of_an_answer(answer: DepthAnswer) -> None:
    headers = {name.decode(): value.decode("latin-1") for name, value in write_headers(answer)}
    assert "x-request-id" not in headers  # whoever answers writes it, whatever the answer
    assert read_headers({**headers, "x-request-id": "id/1"}, b"depth") == answer
    told = {"x-request-id", "x-depth-notice", "x-depth-licence"}  # absent where there is nothing to say
    for name in {header.name.lower() for header in HEADERS.values()} - told:
        assert name in headers


@pytest.mark.parametrize("answer", [FULL, PLAIN, MEASURED])
def test_json_says_all_of_an_answer(answer: DepthAnswer) -> None:
    assert read_json(orjson.loads(orjson.dumps(write_json(answer))), answer.body) == answer


@pytest.mark.parametrize("answer", [FULL, PLAIN, MEASURED])
def test_a_message_of_grpc_says_all_of_an_answer(answer: DepthAnswer) -> None:
    response = pb.PredictResponse()
    write_response(answer, response)
    assert read_response(pb.PredictResponse.FromString(response.SerializeToString())) == answer


@pytest.mark.parametrize("missing", ["x-depth-scale", "content-type", "x-depth-model"])
def test_headers_of_something_else_are_no_answer(missing: str) -> None:
    headers = {name.decode(): value.decode() for name, value in write_headers(FULL)}
    del headers[missing]
    with pytest.raises(KeyError):
        read_headers(headers, b"")
