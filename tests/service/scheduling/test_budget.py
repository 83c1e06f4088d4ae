import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.errors import Overloaded
from service.scheduling.budget import ByteBudget, Share


def account(max_bytes: int = 1000, **given: object) -> ByteBudget:
    return ByteBudget(max_bytes, "is held", setting="MOST_BYTES", **given)  # type: ignore[arg-type]


def test_a_share_is_given_back_at_its_end_whatever_happens() -> None:
    budget = account()
    for error in (None, RuntimeError("broken")):
        with contextlib.suppress(RuntimeError), budget.share("http", "ann") as share:
            share.take(60)
            share.take(40)
            share.give(30)
            assert budget.held_bytes == 70
            if error is not None:
                raise error
        assert budget.held_bytes == 0


def test_what_is_not_left_cannot_be_taken_and_takes_nothing() -> None:
    refused_at: list[str] = []
    budget = account(on_refusal=refused_at.append)
    with budget.share("http", "ann") as first, budget.share("grpc", "bob") as second:
        first.take(500)
        with pytest.raises(Overloaded) as refused:
            second.take(600)
        assert refused.value.retry_after_s == 1.0
        assert str(refused.value) == "too much is held at once for all callers; MOST_BYTES is 1000"
        assert refused_at == ["grpc"]
        second.take(250)
        assert budget.held_bytes == 750


def test_one_holder_has_at_most_as_much_as_it_leaves_to_others() -> None:
    budget = account()
    with budget.share("http", "ann") as first, budget.share("grpc", "ann") as second:
        first.take(300)
        with pytest.raises(Overloaded, match="at once for one caller; MOST_BYTES is 1000"):
            second.take(201)
        second.take(200)
        with budget.share("http", "bob") as other:
            other.take(250)


def test_a_share_can_be_given_another_size() -> None:
    budget = account()
    with budget.share("http", "ann") as share:
        for size in (400, 100, 100, 500):
            share.resize(size)
            assert budget.held_bytes == share.held_bytes == size
        with pytest.raises(Overloaded):
            share.resize(501)
        assert share.held_bytes == 500


def test_where_the_first_may_be_whole_a_holder_with_nothing_may_take_all_that_is_free() -> None:
    budget = account(whole_first=True)
    with budget.share("http", "ann") as first, budget.share("http", "bob") as second:
        first.take(700)
        with pytest.raises(Overloaded, match="for one caller"):
            first.take(1)
        second.take(300)
        with pytest.raises(Overloaded, match="for all callers"):
            second.take(1)


CHANGES = {"take": Share.take, "overdraw": Share.overdraw, "give": Share.give, "resize": Share.resize}


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([*CHANGES, "close"]), st.integers(0, 400))))
def test_nothing_is_held_once_every_share_is_closed(done: list[tuple[int, str, int]]) -> None:
    """Work that a lost connection leaves behind may go on changing its share."""
    budget = account()
    shares = [Share(budget, "http", holder) for holder in "aab"]
    still_open = set(shares)
    for number, change, amount in done:
        if change == "close":
            shares[number].close()
            still_open.discard(shares[number])
            continue
        least = min(amount, shares[number].held_bytes) if change == "give" else amount
        with contextlib.suppress(Overloaded):
            CHANGES[change](shares[number], least)
    for share in still_open:
        share.close()
    assert budget.held_bytes == 0


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 600)), max_size=40))
def test_whoever_holds_nothing_always_finds_room(asked: list[tuple[str, int]]) -> None:
    budget, shares = account(), {}
    for holder, amount in asked:
        share = shares.setdefault(holder, Share(budget, "http", holder))
        with contextlib.suppress(Overloaded):
            share.take(amount)
        assert budget.held_bytes == sum(each.held_bytes for each in shares.values()) <= 1000
        left = 1000 - budget.held_bytes
        assert left > 0
        late = Share(budget, "http", "somebody new")
        late.take(left // 2)
        late.give(left // 2)
