#!/bin/bash
# kserve 0.21.0: a binary BYTES tensor, which is what its own client sends by default, cannot be read by its own
# server over HTTP unless its bytes are UTF-8 text. So a JPEG has to reach a KServe transformer as base64.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'kserve==0.21.0'
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from kserve import InferInput, InferRequest
from kserve.errors import InferenceError

sent = {}
for name, content in (("text", b"plain text"), ("jpeg", b"\xff\xd8\xff\xe0")):
    tensor = InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([content], dtype=np.object_))
    body, json_length = InferRequest("model", [tensor], request_id="1").to_rest()
    try:
        InferRequest.from_bytes(body, json_length, "model")
        sent[name] = "read"
    except InferenceError as error:
        sent[name] = "refused" if "using UTF-8" in str(error) else str(error)
print("kserve", version("kserve"), sent)
assert sent == {"text": "read", "jpeg": "refused"}
PYTHON
