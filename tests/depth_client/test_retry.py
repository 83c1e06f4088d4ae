import pytest

from depth_client import (
    DeadlineExceeded,
    InvalidImage,
    NotReady,
    Overloaded,
    RateLimited,
    Retry,
    Unreachable,
)

RETRY = Retry(attempts=4, first_delay_s=0.1, longest_delay_s=0.3)


def test_what_the_service_says_is_waited_and_at_most_a_quarter_more() -> None:
    for error in (Overloaded("", retry_after_s=7.0), RateLimited("", retry_after_s=7.0)):
        delays = [RETRY.delay_s(error, 1, 60.0) or 0.0 for _ in range(50)]
        assert min(delays) >= 7.0
        assert max(delays) <= 8.75
        assert len(set(delays)) > 1


@pytest.mark.parametrize(("attempt", "least_s"), [(1, 0.1), (2, 0.2), (3, 0.3)])
def test_without_its_word_waits_double_up_to_a_bound(attempt: int, least_s: float) -> None:
    for error in (NotReady(""), Unreachable("")):
        delay_s = RETRY.delay_s(error, attempt, 60.0)
        assert delay_s is not None
        assert least_s <= delay_s <= least_s * 1.25


def test_the_last_attempt_is_the_last() -> None:
    assert RETRY.delay_s(NotReady(""), 4, 60.0) is None
    assert Retry(attempts=1).delay_s(NotReady(""), 1, 60.0) is None


def test_an_overload_that_names_no_time_is_left_alone() -> None:
    assert RETRY.delay_s(Overloaded(""), 1, 60.0) is None


def test_what_cannot_be_waited_for_within_the_deadline_is_not() -> None:
    assert RETRY.delay_s(Overloaded("", retry_after_s=2.0), 1, 2.0) is None
    assert RETRY.delay_s(NotReady(""), 1, 0.05) is None


def test_what_is_wrong_with_the_question_or_was_too_late_stays_so() -> None:
    for error in (InvalidImage(""), DeadlineExceeded("", retry_after_s=0.1)):
        assert RETRY.delay_s(error, 1, 60.0) is None
