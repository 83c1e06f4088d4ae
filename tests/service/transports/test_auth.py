from pathlib import Path
from typing import Any

import pytest

from service.contract.errors import RateLimited, Unauthenticated
from service.transports.auth import (
    ANONYMOUS,
    ApiKey,
    Keyring,
    TokenBucket,
    bearer_key,
    hash_key,
    new_key,
    read_keys,
)
from tests.fakes import ManualClock


def test_without_keys_everybody_is_let_in() -> None:
    assert Keyring().admit(None).name == ANONYMOUS
    assert Keyring().admit("whatever").name == ANONYMOUS


def test_a_key_opens_the_transport_under_its_name() -> None:
    ann, bob = new_key(), new_key()
    keyring = Keyring([ApiKey(name="ann", digest=hash_key(ann)), ApiKey(name="bob", digest=hash_key(bob))])
    assert keyring.admit(ann).name == "ann"
    assert keyring.admit(bob).name == "bob"


@pytest.mark.parametrize("presented", [None, "", "wrong", "depth_", "\udc80"])
def test_anything_else_does_not(presented: str | None) -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key(new_key()))])
    with pytest.raises(Unauthenticated) as refused:
        keyring.admit(presented)
    assert not presented or presented not in str(refused.value)


def test_keys_are_long_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert min(map(len, keys)) >= 43  # 256 bits in base 64


async def test_a_rate_lets_a_burst_through_and_then_so_many_a_second() -> None:
    clock = ManualClock()
    key = new_key()
    limited = ApiKey(name="ann", digest=hash_key(key), images_per_s=2.0, burst=3.0)
    caller = Keyring([limited], clock).admit(key)
    for _ in range(3):
        caller.charge(1)
    with pytest.raises(RateLimited) as refused:
        caller.charge(1)
    assert refused.value.retry_after_s == pytest.approx(0.5)
    await clock.advance(0.5)
    caller.charge(1)
    with pytest.raises(RateLimited):
        caller.charge(1)


async def test_a_refused_request_costs_nothing() -> None:
    clock = ManualClock()
    bucket = TokenBucket(1.0, 1.0, clock)
    assert bucket.take(1) == 0
    for _ in range(10):
        assert bucket.take(1) == pytest.approx(1.0)
    await clock.advance(1.0)
    assert bucket.take(1) == 0


async def test_a_batch_larger_than_the_burst_passes_when_rested_and_is_paid_off_later() -> None:
    clock = ManualClock()
    bucket = TokenBucket(1.0, 2.0, clock)
    assert bucket.take(10) == 0
    assert bucket.take(1) == pytest.approx(9.0)
    await clock.advance(9.0)
    assert bucket.take(1) == 0


async def test_rest_does_not_pile_up_beyond_the_burst() -> None:
    clock = ManualClock()
    bucket = TokenBucket(1.0, 2.0, clock)
    await clock.advance(1000.0)
    assert [bucket.take(1) for _ in range(3)] == [0, 0, pytest.approx(1.0)]


async def test_one_caller_s_rate_is_not_another_s() -> None:
    clock = ManualClock()
    keys = {name: new_key() for name in ("ann", "bob")}
    keyring = Keyring(
        [ApiKey(name=name, digest=hash_key(key), images_per_s=1.0) for name, key in keys.items()], clock
    )
    keyring.admit(keys["ann"]).charge(1)
    keyring.admit(keys["bob"]).charge(1)
    with pytest.raises(RateLimited):
        keyring.admit(keys["ann"]).charge(1)


@pytest.mark.parametrize(
    "given",
    [{}, {"images_per_s": 0.5}, {"images_per_s": 5.0, "burst": 20.0}, {"images_per_s": 2.0, "priority": 3}],
)
def test_the_line_that_is_written_of_a_key_is_read_as_that_key(given: dict[str, Any], tmp_path: Path) -> None:
    key = ApiKey(name="ann", digest=hash_key("k"), **given)
    (tmp_path / "keys").write_text(key.line() + "\n")
    assert read_keys(tmp_path / "keys") == [key]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"burst": 2.0}, "burst is 2 without a rate"),
        ({"images_per_s": -1.0}, "not positive"),
        ({"priority": 9}, "priority is 9"),
        ({"name": "ann smith"}, "name is 'ann smith'|words|hex"),
        ({"name": "#1"}, "expected one word"),
    ],
)
def test_a_key_whose_line_would_not_be_read_is_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        ApiKey(**{"name": "ann", "digest": hash_key("k"), **given}).line()


def test_a_key_file_is_read_with_comments_rates_bursts_and_priorities(tmp_path: Path) -> None:
    digest = hash_key("k")
    path = tmp_path / "keys"
    path.write_text(
        f"# ours\n\nann {digest}\nbob {digest} 5 # slow\ncid {digest.upper()} 5 50\n"
        f"dan {digest} priority=2\neve {digest} 5 priority=-1\n"
    )
    assert read_keys(path) == [
        ApiKey(name="ann", digest=digest),
        ApiKey(name="bob", digest=digest, images_per_s=5.0),
        ApiKey(name="cid", digest=digest, images_per_s=5.0, burst=50.0),
        ApiKey(name="dan", digest=digest, priority=2),
        ApiKey(name="eve", digest=digest, images_per_s=5.0, priority=-1),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "ann",
        "ann secret",
        f"ann {'0' * 64} fast",
        f"ann {'0' * 64} 0",
        f"ann {'0' * 64} 1 2 3",
        f"ann {'0' * 64} priority=5",
        f"ann {'0' * 64} priority=high",
    ],
)
def test_a_broken_line_is_named_by_its_number_and_never_quoted(tmp_path: Path, line: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(ValueError, match="line 2") as refused:
        read_keys(path)
    assert "secret" not in str(refused.value)


def test_two_keys_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"ann {'0' * 64}\nann {'1' * 64}\n")
    with pytest.raises(ValueError, match="same name"):
        read_keys(path)


@pytest.mark.parametrize(
    ("authorization", "api_key", "key"),
    [
        ("Bearer abc", None, "abc"),
        ("bearer  abc ", None, "abc"),
        (None, "abc", "abc"),
        ("Basic abc", "def", "def"),
        ("Bearer abc", "def", "abc"),
        (None, None, None),
        ("Bearer", None, ""),
    ],
)
def test_a_key_is_found_where_clients_put_it(
    authorization: str | None, api_key: str | None, key: str | None
) -> None:
    assert bearer_key(authorization, api_key) == key
