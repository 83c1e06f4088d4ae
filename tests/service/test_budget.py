import contextlib

import pytest

from service.budget import ByteBudget
from service.errors import Overloaded


def test_a_share_is_given_back_at_its_end_whatever_happens() -> None:
    budget = ByteBudget(100, "is held")
    for error in (None, RuntimeError("broken")):
        with contextlib.suppress(RuntimeError), budget.share("http") as share:
            share.take(60)
            share.take(40)
            assert budget.held_bytes == 100
            if error is not None:
                raise error
        assert budget.held_bytes == 0


def test_what_is_not_left_cannot_be_taken_and_takes_nothing() -> None:
    refused_at: list[str] = []
    budget = ByteBudget(100, "is held", on_refusal=refused_at.append)
    with budget.share("http") as first, budget.share("grpc") as second:
        first.take(70)
        with pytest.raises(Overloaded) as refused:
            second.take(40)
        assert refused.value.retry_after_s == 1.0
        assert str(refused.value) == "too much is held at once"
        assert refused_at == ["grpc"]
        second.take(30)
        assert budget.held_bytes == 100
    assert budget.held_bytes == 0
