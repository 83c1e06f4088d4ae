from dataclasses import replace

import numpy as np
import pytest

from depth_client import UnreadableAnswer
from depth_client.result import result_of
from service.contract.answer import DepthAnswer
from service.contract.request import Format

ANSWER = DepthAnswer(
    body=np.arange(6, dtype="<u2").tobytes(),
    media_type="application/octet-stream",
    format=Format.UINT16_MM,
    height=2,
    width=3,
    dtype="<u2",
    scale=0.001,
    unit="metre",
    scale_source="checkpoint",
    minimum=0.001,
    maximum=0.005,
    invalid="0",
    model="student",
    model_version="1",
    request_id="id",
)


def test_stored_value_times_scale_is_depth_and_the_invalid_value_is_none() -> None:
    result = result_of(ANSWER)
    np.testing.assert_allclose(result.depth, [[np.nan, 0.001, 0.002], [0.003, 0.004, 0.005]], rtol=1e-6)
    np.testing.assert_array_equal(result.invalid, [[True, False, False], [False, False, False]])


@pytest.mark.parametrize(
    "changed",
    [{"body": b"123"}, {"height": 7}, {"dtype": "nonsense"}, {"format": Format.PNG16, "body": b"no png"}],
)
def test_bytes_that_are_no_such_map_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(UnreadableAnswer, match="no map"):
        result_of(replace(ANSWER, **changed))
