import gzip
import json
import zlib
from typing import Any

import httpx
import numpy as np
import pytest

from service.contract.request import FieldOfView, Format
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.kserve.flat import FlatEngine
from tests.service.kserve.wire import INFER, PHOTO, encoded, packed, pixels, unpacked
from tests.service.opened import http_client, make_frontend

FLOAT_ANSWER = [7.0] * 6


# What is told of the server and its models


async def test_the_server_says_that_it_lives_and_is_ready(
    client: httpx.AsyncClient, engine: FlatEngine
) -> None:
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}
    assert (await client.get("/v2/models/echo/ready")).json() == {"name": "echo", "ready": True}
    engine.ready = engine.live = False
    for path in ("live", "ready"):
        answer = await client.get(f"/v2/health/{path}")
        assert answer.status_code == 503
        assert isinstance(answer.json()["error"], str)


async def test_the_server_names_the_parts_of_the_protocol_that_it_has(client: httpx.AsyncClient) -> None:
    said = (await client.get("/v2")).json()
    assert (said["name"], said["version"]) == ("vfm-depth", "1")
    assert "statistics" in said["extensions"]  # or perf_analyzer leaves the server's half out
    assert "model_repository" not in said["extensions"]


@pytest.mark.parametrize("path", ["/v2/models/echo", "/v2/models/echo/versions/1"])
async def test_a_model_says_which_tensors_it_takes_and_gives(client: httpx.AsyncClient, path: str) -> None:
    said = (await client.get(path)).json()
    assert said["name"] == "echo"
    assert said["versions"] == ["1"]
    assert [(each["name"], each["datatype"], each["shape"]) for each in said["inputs"]] == [
        ("image", "BYTES", [-1, 1]),
        ("rgb_uint8", "UINT8", [-1, -1, -1, 3]),
        ("rgb_fp32", "FP32", [-1, -1, -1, 3]),
    ]
    assert said["outputs"] == [{"name": "depth", "datatype": "FP32", "shape": [-1, -1, -1]}]
    assert said["properties"]["unit"] == "metre"


async def test_the_configuration_lets_clients_batch_and_leave_inputs_out(client: httpx.AsyncClient) -> None:
    config = (await client.get("/v2/models/echo/config")).json()
    assert config["max_batch_size"] == 64
    assert [each["dims"] for each in config["input"]] == [[1], [-1, -1, 3], [-1, -1, 3]]
    assert all(each["optional"] for each in config["input"])
    assert "dynamic_batching" in config
    assert config["model_transaction_policy"] == {"decoupled": False}


async def test_an_unknown_model_is_not_found_by_any_question(client: httpx.AsyncClient) -> None:
    for path in ("", "/ready", "/config", "/stats", "/versions/9", "/versions/9/stats"):
        answer = await client.get(f"/v2/models/{'echo' if 'versions' in path else 'nobody'}{path}")
        assert answer.status_code == 404
        assert "expected one of echo 1" in answer.json()["error"]


async def test_statistics_are_there_for_one_model_and_for_all(client: httpx.AsyncClient) -> None:
    for path in ("/v2/models/stats", "/v2/models/echo/stats", "/v2/models/echo/versions/1/stats"):
        (one,) = (await client.get(path)).json()["model_stats"]
        assert (one["name"], one["version"], one["inference_count"]) == ("echo", "1", 0)
        assert one["inference_stats"]["compute_infer"] == {"count": 0, "ns": 0}


# Inference


async def test_a_photograph_in_base64_is_answered_with_numbers(client: httpx.AsyncClient) -> None:
    answer = (await client.post(INFER, json=encoded(PHOTO, id="seven"))).json()
    (output,) = answer.pop("outputs")
    assert answer == {"model_name": "echo", "model_version": "1", "id": "seven"}
    assert (output["name"], output["datatype"], output["shape"]) == ("depth", "FP32", [1, 2, 3])
    assert output["data"] == FLOAT_ANSWER
    assert output["parameters"] == {
        "unit": "metre",
        "scale_source": "checkpoint",
        "minimum": 7.0,
        "maximum": 7.0,
    }


@pytest.mark.parametrize(
    "asked",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "depth", "parameters": {"binary_data": True}}]},
        {
            "parameters": {"binary_data_output": False},
            "outputs": [{"name": "depth", "parameters": {"binary_data": True}}],
        },
    ],
)
async def test_depth_comes_raw_where_it_is_asked_for_so(
    client: httpx.AsyncClient, asked: dict[str, Any]
) -> None:
    said, depth = unpacked(await client.post(INFER, json=encoded(PHOTO, **asked)))
    assert said["outputs"][0]["parameters"]["binary_data_size"] == depth.nbytes == 24
    assert "data" not in said["outputs"][0]
    assert depth.tolist() == FLOAT_ANSWER


async def test_an_output_s_own_word_is_stronger_than_the_request_s(client: httpx.AsyncClient) -> None:
    output = {"name": "depth", "parameters": {"binary_data": False}}
    request = encoded(PHOTO, parameters={"binary_data_output": True}, outputs=[output])
    assert (await client.post(INFER, json=request)).json()["outputs"][0]["data"] == FLOAT_ANSWER


@pytest.mark.parametrize("shape", [[2], [2, 1]])
async def test_raw_elements_are_read_behind_their_lengths(
    client: httpx.AsyncClient, shape: list[int]
) -> None:
    raw = b"".join(len(image).to_bytes(4, "little") + image for image in (b"\x05a", b"\x09bcd"))
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": shape,
        "parameters": {"binary_data_size": len(raw)},
    }
    body, headers = packed({"inputs": [tensor]}, raw)
    output = (await client.post(INFER, content=body, headers=headers)).json()["outputs"][0]
    assert output["shape"] == [2, 2, 3]
    assert output["data"] == [5.0] * 6 + [9.0] * 6
    assert (output["parameters"]["minimum"], output["parameters"]["maximum"]) == (5.0, 9.0)


async def test_a_bare_photograph_is_answered_raw(client: httpx.AsyncClient) -> None:
    headers = {"inference-header-content-length": "0"}
    _, depth = unpacked(await client.post(INFER, content=PHOTO, headers=headers))
    assert depth.tolist() == FLOAT_ANSWER


async def test_pixels_reach_the_engine_as_they_are(client: httpx.AsyncClient, engine: FlatEngine) -> None:
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    tensor = {"name": "rgb_uint8", "datatype": "UINT8", "shape": [2, 4, 5, 3]}
    body, headers = packed(
        {"inputs": [{**tensor, "parameters": {"binary_data_size": images.nbytes}}]}, images.tobytes()
    )
    nested = pixels([2, 4, 5, 3], images.tolist())
    flat = pixels([2, 4, 5, 3], images.reshape(-1).tolist())
    answers = [
        await client.post(INFER, content=body, headers=headers),
        await client.post(INFER, json=nested),
        await client.post(INFER, json=flat),
    ]
    assert [answer.json()["outputs"][0]["shape"] for answer in answers] == [[2, 4, 5]] * 3
    for place, request in enumerate(engine.requests):
        assert np.array_equal(request.image, images[place % 2])


async def test_colours_from_0_to_1_become_the_bytes_that_they_came_from(
    client: httpx.AsyncClient, engine: FlatEngine
) -> None:
    images = np.arange(256 * 3, dtype=np.uint8).reshape(1, 16, 16, 3)
    raw = (images / 255).astype("<f4").tobytes()
    tensor = {"name": "rgb_fp32", "datatype": "FP32", "shape": [1, 16, 16, 3]}
    body, headers = packed({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}, raw)
    assert (await client.post(INFER, content=body, headers=headers)).status_code == 200
    assert np.array_equal(engine.requests[0].image, images[0])


async def test_parameters_reach_the_engine(client: httpx.AsyncClient, engine: FlatEngine) -> None:
    parameters = {"size": "model", "priority": 9, "fov_deg": 90, "camera_height_m": 1.5, "sequence_id": 4}
    answer = await client.post("/v2/models/echo/versions/1/infer", json=encoded(PHOTO, parameters=parameters))
    assert answer.json()["outputs"][0]["shape"] == [1, 1, 1]
    (request,) = engine.requests
    assert (request.model, request.version, request.format) == ("echo", "1", Format.FLOAT32)
    assert (request.size, request.priority, request.transport) == ("model", -4, "kserve_http")
    assert request.lens == FieldOfView(horizontal_deg=90.0)


async def test_level_1_is_the_highest_priority_and_what_is_beyond_the_levels_is_as_if_unsaid(
    engine: FlatEngine,
) -> None:
    key = ApiKey(name="ann", digest=hash_key("right"), priority=4)
    frontend = make_frontend(engine, Keyring([key]))
    async with http_client(frontend) as client:
        for priority in (1, 9, 0, 10, 5):
            asked = encoded(PHOTO, parameters={"priority": priority})
            await client.post(INFER, json=asked, headers={"x-api-key": "right"})
    assert [request.priority for request in engine.requests] == [4, -4, 0, 0, 0]


async def test_the_nearest_of_all_deadlines_counts(client: httpx.AsyncClient, engine: FlatEngine) -> None:
    for timeout_us, header_ms in (
        (2_000_000, "20000"),
        (20_000_000, "2000"),
        ("2000000", "20000"),
        (0, "2000"),
    ):
        request = encoded(PHOTO, parameters={"timeout": timeout_us})
        await client.post(INFER, json=request, headers={"x-request-deadline-ms": header_ms})
    await client.post(INFER, json=encoded(PHOTO))
    deadlines = [request.deadline_s or 0.0 for request in engine.requests]
    assert max(deadlines[:4]) < min(deadlines) + 2
    assert deadlines[4] > max(deadlines[:4]) + 20


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
async def test_a_packed_body_is_unpacked(client: httpx.AsyncClient, encoding: str, pack: Any) -> None:
    body = pack(json.dumps(encoded(PHOTO)).encode())
    answer = await client.post(INFER, content=body, headers={"content-encoding": encoding})
    assert answer.json()["outputs"][0]["data"] == FLOAT_ANSWER


async def test_null_is_as_good_as_absent(client: httpx.AsyncClient) -> None:
    request = encoded(PHOTO, id=None, parameters=None, outputs=None)
    request["inputs"][0]["parameters"] = None
    answer = await client.post(INFER, json=request)
    assert answer.status_code == 200, answer.text
    request = pixels([1, 1, 1, 3], None)
    request["inputs"][0] |= {"data": None, "parameters": {"binary_data_size": 3, "content_type": "np"}}
    body, headers = packed(request | {"outputs": [{"name": "depth", "parameters": None}]}, b"\x05\x06\x07")
    answer = await client.post(INFER, content=body, headers=headers)
    assert answer.json()["outputs"][0]["data"] == [5.0]


async def test_the_server_is_described_with_and_without_a_slash(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v2/")).json() == (await client.get("/v2")).json()


async def test_an_unknown_model_is_named_as_triton_s_examples_expect(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.get("/v2/models/nobody"),
        await client.get("/v2/models/nobody/ready"),
        await client.get("/v2/models/nobody/config"),
    ):
        assert answer.status_code == 404
        assert "Request for unknown model" in answer.json()["error"]
