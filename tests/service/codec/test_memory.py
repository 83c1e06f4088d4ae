import subprocess
import sys

import pytest

from service.codec.memory import keep_freed_memory

FAULTS_PER_ROUND = """
import resource, sys, threading
import numpy as np
from model.images import disparity_to_depth_map
from service.codec.encode import EncodeOptions, encode_depth
from service.contract.formats import Format
from service.codec.memory import keep_freed_memory
DISPARITY = np.linspace(0.01, 0.2, 640 * 192, dtype=np.float32).reshape(192, 640)
def work():
    encode_depth(disparity_to_depth_map(DISPARITY, 375, 1242), Format.PNG16, EncodeOptions(unit="metre"))
def faults():
    for _ in range(5):
        work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        work()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 20)
if sys.argv[1] == "keep":
    keep_freed_memory()
thread = threading.Thread(target=faults)
thread.start()
thread.join()
"""


def faults_per_round(how: str) -> int:
    command = [sys.executable, "-c", FAULTS_PER_ROUND, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_depth_map_costs_no_page_faults_once_its_memory_was_there() -> None:
    if not keep_freed_memory():
        pytest.skip("the C library is not glibc")
    kept, left = faults_per_round("keep"), faults_per_round("leave")
    assert kept < 50 < left
