#!/bin/sh
# OpenVINO pins a network of one thread to a processor while it computes, and in every process to the same one: two
# processes then share one processor while others idle. ENABLE_CPU_PINNING off leaves the threads alone.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cd "$folder"
cat >held.py <<'PYTHON'
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import openvino
from openvino import opset8 as ops

image = ops.parameter([1, 16, 64, 64], np.float32)
kernel = ops.constant(np.ones((16, 16, 3, 3), np.float32))
model = openvino.Model([ops.convolution(image, kernel, [1, 1], [1, 1], [1, 1], [1, 1])], [image])
settings = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": sys.argv[1] == "pinned"}
if sys.argv[1] == "default":
    del settings["ENABLE_CPU_PINNING"]
request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
thread = threading.Thread(target=lambda: [request.infer([np.zeros((1, 16, 64, 64), np.float32)]) for _ in range(500)])
thread.start()
held = set()
while thread.is_alive():
    for task in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it ended since
            held.add(frozenset(os.sched_getaffinity(int(task.name))))
print(sorted(map(sorted, held - {frozenset(os.sched_getaffinity(0))})))
PYTHON
"$folder/venv/bin/python" - <<'PYTHON'
import os
import subprocess
import sys

import openvino

processors = sorted(os.sched_getaffinity(0))
if len(processors) < 2:
    sys.exit("this shows on two processors or more; here is one")


def held(*how: str) -> list[str]:
    """Return to which processors threads were held, of processes that run at the same time."""
    running = [subprocess.Popen([sys.executable, "held.py", each], stdout=subprocess.PIPE, text=True) for each in how]
    return [process.communicate()[0].strip() for process in running]


default, other = held("default", "default")
[unpinned] = held("unpinned")
print(f"openvino {openvino.__version__}, processors {processors}")
print(f"two processes of one thread each, as they are: held to {default} and {other}")
print(f"with ENABLE_CPU_PINNING off: held to {unpinned}")
assert default == other == f"[[{processors[0]}]]", "the processes are not held to the same processor any more"
assert unpinned == "[]", "threads are held although pinning is off"
PYTHON
