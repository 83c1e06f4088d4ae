#!/bin/sh
# safetensors writes the entries of a file's __metadata__ in an order that changes from call to call: the same tensors
# with the same two texts give files of different bytes, so hashes of checkpoints differ where nothing else does.
# One entry alone is always written the same.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import hashlib
from importlib.metadata import version

import numpy
from safetensors.numpy import save

def digests(texts):
    weights = {"weight": numpy.zeros(3, numpy.float32)}
    return {hashlib.sha256(save(weights, texts)).hexdigest() for _ in range(64)}

one, several = digests({"a": "1"}), digests({"a": "1", "b": "2", "c": "3"})
print("safetensors", version("safetensors"))
print("files of one text, written 64 times:", len(one), "different")
print("files of three texts, written 64 times:", len(several), "different")
assert (len(one) == 1, len(several) == 1) == (True, False), "safetensors behaves differently now"
PYTHON
