"""Requests as clients of the protocol write them, and answers as they read them."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import numpy as np

INFER = "/v2/models/echo/infer"
PHOTO = b"\x07photo"


def encoded(*images: bytes, **also: object) -> dict[str, Any]:
    data = [base64.b64encode(image).decode() for image in images]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}], **also}


def pixels(
    shape: Sequence[int], data: object, name: str = "rgb_uint8", datatype: str = "UINT8"
) -> dict[str, Any]:
    return {"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]}


def packed(request: Mapping[str, Any], *tensors: bytes) -> tuple[bytes, dict[str, str]]:
    """A body of JSON with tensors behind it, and the header that says where they begin."""
    head = json.dumps(request).encode()
    return head + b"".join(tensors), {"inference-header-content-length": str(len(head))}


def unpacked(answer: httpx.Response) -> tuple[dict[str, Any], np.ndarray]:
    length = int(answer.headers["inference-header-content-length"])
    return json.loads(answer.content[:length]), np.frombuffer(answer.content[length:], "<f4")
