import gzip
import json
from typing import Any

import httpx
import numpy as np
import pytest

from service.contract.errors import InvalidImage, NotReady, Overloaded
from tests.service.kserve.flat import FlatEngine
from tests.service.kserve.wire import INFER, PHOTO, encoded, packed, pixels
from tests.service.opened import http_client, make_frontend


async def refused(client: httpx.AsyncClient, request: object, status: int = 400) -> str:
    """What a request is refused with, in the form that the protocol's clients read."""
    content = request if isinstance(request, bytes) else json.dumps(request).encode()
    answer = await client.post(INFER, content=content)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    return str(answer.json()["error"])


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        ([], "no JSON object"),
        ({}, "inputs: expected a JSON list"),
        ({"inputs": []}, "0 inputs; expected one: image (BYTES)"),
        ({"inputs": [7]}, "no JSON object"),
        (encoded(PHOTO, id=7), "expected a JSON string"),
        (encoded(PHOTO, outputs=[{"name": "colour"}]), "no output 'colour'; expected 'depth'"),
        (encoded(PHOTO, outputs=[{"name": "depth", "parameters": {"classification": 3}}]), "classification"),
        (encoded(PHOTO, parameters={"siez": "model"}), "no parameter 'siez'"),
        (encoded(PHOTO, parameters={"size": [1]}), "no text, number, true or false"),
        (encoded(PHOTO, parameters={"priority": -1}), "expected a whole number from 0"),
        (encoded(PHOTO, parameters={"priority": True}), "expected a whole number from 0"),
        (encoded(PHOTO, parameters={"size": "huge"}), "expected one of input, model"),
        (encoded(PHOTO, parameters={"size": "m" * 257}), "'size' has 257 characters; expected at most 256"),
        (encoded(PHOTO, parameters={"timeout": "9" * 5000}), "'timeout' has 5000 characters"),
        (encoded(PHOTO, parameters={"timeout": "9" * 21}), "expected a whole number from 0 to"),
        (encoded(PHOTO, parameters={"binary_data_output": "yes"}), "expected true or false"),
        (encoded(b""), "an image is empty"),
        (encoded(*[PHOTO] * 65), "65 images; expected at most 64"),
        (pixels([1], ["no base64!"], "image", "BYTES"), "expected strings of base64"),
        (pixels([1], [7], "image", "BYTES"), "expected strings of base64"),
        (pixels([2], [""], "image", "BYTES"), "1 elements; expected 2"),
        (pixels([1], ["AA=="], "picture", "BYTES"), "no input 'picture'"),
        (pixels([1], ["AA=="], "image", "FP16"), "datatype 'FP16'; expected one of BYTES, UINT8, FP32"),
        (pixels([1], [1], "image", "UINT8"), "'image' is of UINT8; expected BYTES"),
        (pixels([1, 2], ["AA==", "AA=="], "image", "BYTES"), "expected [n] or [n, 1]"),
        (pixels([1, 1, 1, 3], [1, 2]), "2 elements; expected 3"),
        (pixels([1, 1, 1, 3], [1, 2, 256]), "expected numbers from 0 to 255"),
        (pixels([1, 1, 1, 3], [1, 2, -1]), "expected numbers from 0 to 255"),
        (pixels([1, 1, 1, 3], [1, 2, 2.5]), "expected UINT8 numbers"),
        (pixels([1, 1, 1, 3], [1, 2, "3"]), "expected UINT8 numbers"),
        (pixels([1, 1, 1, 3], [True, True, True]), "does not fit"),
        (pixels([1, 1, 1, 3], [[1, 2], [3]]), "uneven"),
        (pixels([1, -1, 1, 3], [1, 2, 3]), "positive whole numbers"),
        (pixels([True, 1, 1, 3], [1, 2, 3]), "positive whole numbers"),
        (pixels([], [1]), "positive whole numbers"),
        (pixels([1, 3, 1, 1], [1, 2, 3]), "planes (NCHW)"),
        (pixels([1, 1, 3], [1, 2, 3]), "without its batch"),
        (pixels([1, 1, 1, 3], [0, 0.5, 1.01], "rgb_fp32", "FP32"), "expected colours from 0 to 1"),
        (pixels([1, 1, 1, 3], [0, 0.5, -0.01], "rgb_fp32", "FP32"), "expected colours from 0 to 1"),
    ],
)
async def test_what_is_wrong_is_told_in_the_protocol_s_form(
    client: httpx.AsyncClient, request_: object, reason: str
) -> None:
    assert reason in await refused(client, request_)


@pytest.mark.parametrize(
    ("said", "behind", "reason"),
    [
        ({"binary_data_size": 9}, bytes(8), "of the 8 that are left"),
        ({"binary_data_size": 8}, bytes(13), "5 bytes of the body belong to no input"),
        ({"binary_data_size": -1}, bytes(8), "expected a number of bytes"),
        ({"binary_data_size": "8"}, bytes(8), "expected a number of bytes"),
        ({}, bytes(8), "expected either data or 'binary_data_size'"),
        ({"binary_data_size": 8}, b"\xff\xff\xff\xffjpeg", "is cut short"),
        ({"binary_data_size": 7}, bytes(7), "is cut short"),
    ],
)
async def test_bytes_that_do_not_add_up_are_refused(
    client: httpx.AsyncClient, said: dict[str, Any], behind: bytes, reason: str
) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": said}
    body, headers = packed({"inputs": [tensor]}, behind)
    answer = await client.post(INFER, content=body, headers=headers)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("length", ["-1", "many", "999"])
async def test_a_length_that_cannot_be_is_refused(client: httpx.AsyncClient, length: str) -> None:
    headers = {"inference-header-content-length": length}
    answer = await client.post(INFER, content=json.dumps(encoded(PHOTO)), headers=headers)
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


async def test_json_that_is_said_to_have_no_bytes_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"inference-header-content-length": "0", "content-type": "application/json"}
    answer = await client.post(INFER, content=json.dumps(encoded(PHOTO)), headers=headers)
    assert answer.status_code == 400
    assert "expected one" in answer.json()["error"]


async def test_one_bad_image_fails_its_request_and_leaves_nothing_running(
    client: httpx.AsyncClient, engine: FlatEngine
) -> None:
    engine.error = InvalidImage("the bytes are no image that we read")
    assert "no image" in await refused(client, encoded(PHOTO, PHOTO))
    assert engine.in_flight == 0


async def test_images_of_different_sizes_make_no_tensor(engine: FlatEngine) -> None:
    class Growing(FlatEngine):
        def answer(self, request: Any) -> Any:
            image = np.zeros((len(request.image), 2, 3), np.uint8)
            return super().answer(type(request)(image=image, size=request.size))

    async with http_client(make_frontend(Growing())) as client:
        told = await refused(client, encoded(b"a", b"bb"))
        assert "sizes 2x1, 2x2" in told
        assert "size: model" in told
        whole = await client.post(INFER, json=encoded(b"a", b"bb", parameters={"size": "model"}))
        assert whole.json()["outputs"][0]["shape"] == [2, 1, 1]


async def test_more_numbers_than_json_may_hold_are_refused_with_the_way_out(engine: FlatEngine) -> None:
    async with http_client(make_frontend(engine, json_max_pixels=5)) as client:
        assert "6 numbers are more than the 5" in await refused(client, encoded(PHOTO))
        raw = encoded(PHOTO, parameters={"binary_data_output": True})
        assert (await client.post(INFER, json=raw)).status_code == 200


async def test_a_full_queue_says_when_to_come_again(client: httpx.AsyncClient, engine: FlatEngine) -> None:
    for error, status in (
        (Overloaded("full", retry_after_s=2.0), 429),
        (NotReady("soon", retry_after_s=2.0), 503),
    ):
        engine.error = error
        answer = await client.post(INFER, json=encoded(PHOTO))
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "2")
        assert answer.json() == {"error": str(error)}


async def test_what_nobody_foresaw_is_told_without_its_text(
    client: httpx.AsyncClient, engine: FlatEngine
) -> None:
    engine.error = RuntimeError("secret")
    assert "secret" not in await refused(client, encoded(PHOTO), status=500)


async def test_a_body_that_is_too_large_is_refused_packed_or_not(engine: FlatEngine) -> None:
    async with http_client(make_frontend(engine, max_body_bytes=1000)) as client:
        await refused(client, bytes(1001), status=413)
        bomb = await client.post(
            INFER, content=gzip.compress(bytes(10**6)), headers={"content-encoding": "gzip"}
        )
        assert bomb.status_code == 413
        for encoding, content, status in (("gzip", b"no gzip", 400), ("br", b"", 415)):
            answer = await client.post(INFER, content=content, headers={"content-encoding": encoding})
            assert answer.status_code == status
        short = gzip.compress(json.dumps(encoded(PHOTO)).encode())[:-9]
        answer = await client.post(INFER, content=short, headers={"content-encoding": "gzip"})
        assert "cut short" in answer.json()["error"]


async def test_what_does_not_exist_is_told_in_the_protocol_s_form_too(client: httpx.AsyncClient) -> None:
    for method, path, status in (("GET", "/v2/nothing", 404), ("GET", INFER, 405), ("POST", "/v2", 405)):
        answer = await client.request(method, path)
        assert answer.status_code == status
        assert list(answer.json()) == ["error"]
        assert isinstance(answer.json()["error"], str)
